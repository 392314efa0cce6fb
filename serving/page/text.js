// Text as it is shown: offsets, dates, and the little Markdown that quoted sentences carry.

import { el, outLink } from "./dom.js";

/** UTF-16 index of the code point numbered `count`: offsets from the server count code points. */
export function codePointIndex(text, count) {
  let index = 0;
  for (let left = count; left > 0 && index < text.length; left -= 1) {
    index += text.codePointAt(index) > 0xffff ? 2 : 1;
  }
  return index;
}

/** `text` cut at two code point offsets: what is before, between and after them. */
export function splitAt(text, start, end) {
  const from = codePointIndex(text, start);
  const to = from + codePointIndex(text.slice(from), end - start);
  return [text.slice(0, from), text.slice(from, to), text.slice(to)];
}

/** "12 March 2017" from an ISO moment, in UTC as the records are; empty when there is none. */
export function longDate(moment) {
  const date = moment ? new Date(moment) : null;
  if (!date || Number.isNaN(date.getTime())) return "";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
}

/** How long ago, in the words of a list: "14:05" today, "Tue 3 Jun" this year, "3 Jun 2024" before. */
export function shortTime(moment, now = new Date()) {
  const date = moment ? new Date(moment) : null;
  if (!date || Number.isNaN(date.getTime())) return "";
  if (date.toDateString() === now.toDateString()) {
    return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  }
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}

// Converters wrap paragraphs at 79 columns; such a line break means no more than a space.
const WRAP_WIDTH = 79;
const STARTS_A_LINE = /^\s*(?:[-*+•]\s|\d+[.)]\s|#{1,6}\s|>|\||```|\s{3}\S)/;
const FENCE_LINE = /^ {0,3}(?:```|~~~)/;
const HEADING_LINE = /^ {0,3}#{1,6}\s/;
const CODE_LINE = /^(?: {4}|\t)/;

/** Whether the break between two lines was put there by a converter that ran out of room. */
function isWrapped(line, next) {
  if (line.length < WRAP_WIDTH / 2 || line.length > WRAP_WIDTH || line.endsWith("  ")) return false;
  const word = /^\S+/.exec(next);
  return Boolean(word) && !STARTS_A_LINE.test(next) && line.length + 1 + word[0].length >= WRAP_WIDTH;
}

/** `text` in pieces {text, kind}, nothing lost: "plain", "soft" (a wrapped line's break), "code", "heading". */
export function pieces(text) {
  const found = [];
  const add = (kind, part) => {
    const last = found.at(-1);
    if (last?.kind === kind) last.text += part;
    else if (part) found.push({ kind, text: part });
  };
  const lines = text.split("\n");
  let fenced = false;
  lines.forEach((line, index) => {
    const fence = FENCE_LINE.test(line);
    const code = fenced || fence || CODE_LINE.test(line);
    if (fence) fenced = !fenced;
    add(code ? "code" : HEADING_LINE.test(line) ? "heading" : "plain", line);
    if (index === lines.length - 1) return;
    const soft = !code && !HEADING_LINE.test(line) && isWrapped(line, lines[index + 1]);
    add(soft ? "soft" : code ? "code" : "plain", "\n");
  });
  return found;
}

const FENCE = /(^|\n)```[^\n]*\n([\s\S]*?)(?:\n```[^\n]*(?=\n|$)|$)/g;
const LINE_MARK = /(^|\n)[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+(?=\S))/g;
const INLINE = new RegExp(
  [
    /\\(?<escaped>[!-/:-@[-`{-~])/,
    /(?<tick>`+)(?<code>[^`]+)\k<tick>(?!`)/,
    /!\[(?<alt>[^\]]*)\]\([^()\s]*(?:\s+"[^"]*")?\)/,
    /\[(?<label>[^\][]+)\]\((?<href>[^()\s]*(?:\([^()\s]*\)[^()\s]*)?)(?:\s+"[^"]*")?\)/,
    /<(?<auto>https?:\/\/[^\s<>]+)>/,
    /(?<strongMark>\*\*|__)(?=\S)(?<strong>(?:(?!\k<strongMark>)[\s\S])*\S)\k<strongMark>/,
    /(?<![\w*])\*(?=[^\s*])(?<star>[^*]*[^\s*])\*(?![\w*])/,
    /(?<![\w_])_(?=[^\s_])(?<under>[^_]*[^\s_])_(?![\w_])/,
  ]
    .map((part) => part.source)
    .join("|"),
  "g",
);
const LONGEST_MARKED_UP = 20000;

function inline(text, depth = 0) {
  if (depth > 3 || text.length > LONGEST_MARKED_UP) return [text];
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const { escaped, code, alt, label, href, auto, strong, star, under } = match.groups;
    if (match.index > from) nodes.push(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (escaped !== undefined) nodes.push(escaped);
    else if (code !== undefined) nodes.push(el("code", {}, code.trim() || code));
    else if (alt !== undefined) nodes.push(alt);
    else if (label !== undefined) nodes.push(outLink(href, ...inline(label, depth + 1)));
    else if (auto !== undefined) nodes.push(outLink(auto, auto));
    else if (strong !== undefined) nodes.push(el("strong", {}, ...inline(strong, depth + 1)));
    else nodes.push(el("em", {}, ...inline(star ?? under, depth + 1)));
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

const unwrapped = (text) =>
  pieces(text)
    .map((piece) => (piece.kind === "soft" ? " " : piece.text))
    .join("");

/** A sentence as nodes: code blocks, then bold, italic, code and links; other Markdown marks go. */
export function marked(text) {
  const nodes = [];
  const prose = (part) => nodes.push(...inline(unwrapped(part).replace(LINE_MARK, "$1")));
  let from = 0;
  for (const match of text.matchAll(FENCE)) {
    const before = text.slice(from, match.index);
    if (before.trim()) prose(before);
    nodes.push(el("pre", {}, el("code", {}, match[2])));
    from = match.index + match[0].length;
  }
  const rest = text.slice(from);
  if (rest.trim()) prose(from ? rest.trimStart() : rest);
  return nodes;
}
