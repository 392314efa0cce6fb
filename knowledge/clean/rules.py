"""What pages put around an author's words, by the platform that puts it there.

Each rule says why. Patterns are matched against the folded view of the text (`knowledge.view`), so
that they hold whatever quotes, spaces or styled letters a page uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHARE_BLOCK = (
    r"^Share this post\n+(?:(?!Copy link$)[^\n]*\n+){1,6}^Copy link\n+Facebook\n+Email\n+Notes?\n+(?:Other|More)\n+"
)
_MONTH_DAY = r"[A-Z][a-z]{2} \d{1,2}(?:, \d{4})?"


def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Profile:
    """One platform's chrome. `fingerprint` tells its pages; `head` is what comes before the text,
    `tails` what comes after it (from the match to the end), `spans` what may stand in between."""

    name: str
    fingerprint: re.Pattern[str]
    head: re.Pattern[str] | None = None
    tails: tuple[re.Pattern[str], ...] = ()
    spans: tuple[re.Pattern[str], ...] = ()


PROFILES: tuple[Profile, ...] = (
    Profile(
        name="substack",
        # The top bar's two buttons, glued together by every converter.
        fingerprint=_pattern(r"\A.{0,300}^Subscribe\s*Sign in$"),
        # Logo, buttons, share menu, title, byline, like count, share menu again; the head ends with
        # the first share menu that the page's own "Share" button follows.
        head=_pattern(r"\A.{0,3000}?^(?:Other|More)\n+(?:\d+\n+)?Share$\n*"),
        tails=(
            # The closing share menu, pager, guest's card and comments; what readers wrote is not the author's.
            _pattern(rf"(?:^\d+\n+)?{_SHARE_BLOCK}(?:\d+\n+)?(?:Share\n+)?.{{0,800}}?^#* ?Discussion about this post$"),
            _pattern(r"^(?:Previous\s*Next\n+)?#+ Discussion about this post$"),
            _pattern(r"^Ready for more\?\n+Subscribe$"),
        ),
    ),
    Profile(
        name="medium",
        fingerprint=_pattern(r"\A.{0,400}Open in app.{0,40}Sign (?:up|in)"),
        # Bar, title, subtitle, byline, claps; ends with the "Listen" and "Share" buttons.
        head=_pattern(rf"\A.{{0,1500}}?min read\s*·\s*{_MONTH_DAY}\s*[\d.,K\s-]*(?:Listen\s*)?Share(?:\s*More$)?\s*"),
        tails=(
            # The membership box; below it tags, the author's card and other people's titles.
            _pattern(r"Sign up to discover human stories that deepen your understanding of the world\."),
            _pattern(r"^To make Medium work, we log user data\."),
            _pattern(r"(?:Written by|More from) [^\n]{3,60}\n.{0,2000}Recommended from Medium"),
        ),
        spans=(
            # The embedded card of a newsletter with the call that introduces it.
            _pattern(
                r"(?:(?:Have you enjoyed this article\? Then\.*[^\w\n]*|Enjoyed This Article\?|-> |→ )\s*)?"
                r"Join (?:the|[\d.]+k\+ \w+ in the) [^.\n]{3,40}Newsletter for "
                r"[^\n]{10,160}?(?:FREE ↓|[Ee]very week:)\s*",
            ),
            _pattern(r"[^.?!:\n↓]{3,80} \| [^|.\n]{2,40} \| Substack\s*Join [^\n]{10,240}?[\w-]+\.substack\.com"),
        ),
    ),
    Profile(
        name="quarto",
        # Title block of a Quarto site as text: labels and values on lines of their own.
        fingerprint=_pattern(r"\A.{0,2000}^Author\n+[^\n]+\n+Published\n+[^\n]*\d{4}$"),
        # Navigation bar and breadcrumbs, the title block, the sidebar with all articles, the contents.
        head=_pattern(
            r"\A.{0,2000}?^Published\n+[^\n]*\d{4}\n+"
            r"(?:(?: {2,}[*+-] [^\n]*|[^\S\n]*)\n)*"
            r"(?:#+ \**(?:Sections|On this page|Table of contents)\**\n+(?:[^\S\n]*[*+-] [^\n]*\n|[^\S\n]*\n)*)?"
        ),
        tails=(_pattern(r"^_*Copyright \d{4}, [^\n]{3,60}\s*\Z"),),
        # Icon of the copy button at the end of a code block, left by its font as two underscores.
        spans=(_pattern(r"(?<=[\])\"'}:\w])__$"),),
    ),
)

BUTTONS: frozenset[str] = frozenset(
    label.strip()
    for line in """
    subscribe|subscribe now|subscribed|sign in|sign up|log in|subscribesign in|share|share this post|copy link
    leave a comment|open in app|read in app|listen|listen to this article|get the app|get app|start writing
    start writingget the app|skip to content|skip to main content|toggle navigation|previousnext|follow|following
    ready for more?|no posts|type your email...|give a gift subscription|get more from me in the app|restack
    substack is the home for great culture|privacy - terms - collection notice|accept all cookies|manage preferences
    share on twitter|share on x|share on facebook|share on linkedin|share on mastodon|send by email|print this page
    discover more from|view all posts|back to top|load more|see all|advertisement|click to share
    """.strip().splitlines()
    for label in line.split("|")
)
"""Paragraphs that are nothing but a button's or a bar's label, folded, in lower case."""

CALLS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        # Newsletter calls: to subscribe, to pay, to share. The platform offers them as ready-made boxes.
        r"^(?:thanks|thank you) for reading\b.{0,120}\b(?:subscribe|share it|this post is public)",
        r"\bis a reader-supported (?:publication|newsletter)\b",
        r"\bconsider becoming an? (?:free or |free and )?(?:paid )?subscriber\b",
        r"^subscribe (?:for free )?to (?:receive|get|support|keep|stay|continue|never)\b",
        r"^discover more from .{2,80}$",
        r"^type your email\b",
        r"^(?:this post|this publication|[^.]{2,40}) is public,? so feel free to share it",
        r"^(?:upgrade to (?:paid|founding)|pledge your support|keep reading with a \d+-day free trial)\b",
        # Medium's membership card and the line that leads to it.
        r"\bbecome a medium member\b",
        r"^join medium with (?:my|our) referral link\b",
        r"^if you're already a member, you can ?follow me on medium\.?$",
        # Notices that the site, not the author, is obliged to show.
        r"^(?:we|this (?:site|website|page)) uses? cookies\b",
        r"^to make medium work, we log user data\b",
        r"^this site requires javascript\b",
    )
)
"""Paragraphs, folded, in lower case, without outer markup, that ask the reader for something."""

CALL_CHARS = 420
"""A paragraph longer than this is an author's text, whatever it also asks for."""

CARD = re.compile(r"^\*\*.+?\*\*\s+_.*[\w)…_.?!]\s*_?(?:[\w-]+\.)+(?:com|org|io|ai|net|dev|co|blog)$")
"""A link preview: bold title, slanted description, the site's name glued to its end. It goes only with
a section that holds nothing else ("Related articles"); elsewhere the author put it there to be read."""

FOOTER = re.compile(
    r"^_*(?:©|\(c\)|copyright)\s*(?:©\s*)?\d{4}\b|^all rights reserved\.?$|^powered by \w+$", re.IGNORECASE
)
"""Ownership lines; only at the very end of a page, where no author writes."""

BYLINE = re.compile(
    r"^(?:by )?(?P<name>[^.!?]{0,60}?)[\s·|,-]*"
    r"(?P<date>[a-z]{3,9}\.? \d{1,2},? \d{4}|\d{1,2} [a-z]{3,9}\.? \d{4}|\d{4}-\d\d-\d\d)?"
    r"[\s·|,-]*(?P<time>\d{1,3} min(?:ute)? read)?$"
)
"""Author, date and reading time on one line; only at the very top, and only if it says who wrote this item."""
