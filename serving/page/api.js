// The server's interface, and errors as the page shows them.

/** What went wrong, in words for the reader. */
export class Problem extends Error {
  constructor({ title, detail = "", retryable = false, status = 0 }) {
    super(title);
    this.title = title;
    this.detail = detail;
    this.retryable = retryable;
    this.status = status;
  }
}

/** The Problem that a refused response describes (problem+json), or one from its status alone. */
async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not JSON: a proxy's page, say. The status has to do.
  }
  return new Problem({
    title: typeof body.title === "string" ? body.title : `The server answered ${response.status}`,
    detail: typeof body.detail === "string" ? body.detail : "",
    retryable: typeof body.retryable === "boolean" ? body.retryable : response.status >= 500,
    status: response.status,
  });
}

const UNREACHABLE = { title: "The server cannot be reached", detail: "Is it still running?", retryable: true };

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(UNREACHABLE);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function getJson(path) {
  return (await request(path, { headers: { Accept: "application/json" } })).json();
}

const segment = encodeURIComponent;

export const health = () => getJson("/v1/health");
export const listThreads = () => getJson("/v1/threads");
export const readThread = (id) => getJson(`/v1/threads/${segment(id)}`);
export const readDocument = (id, version) => getJson(`/v1/documents/${segment(id)}?version=${segment(version)}`);
export const cancelRun = (id) => request(`/v1/runs/${segment(id)}/cancel`, { method: "POST" });

/** Starts a run; the response body is its event stream. */
export function startRun(question, threadId, signal) {
  return request("/v1/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(threadId ? { question, thread_id: threadId } : { question }),
    signal,
  });
}

/** A run's events after `lastId`; a run lives in the server, not in the connection. */
export function resumeRun(runId, lastId, signal) {
  const headers = { Accept: "text/event-stream", "Last-Event-ID": String(lastId) };
  return request(`/v1/runs/${segment(runId)}/events`, { headers, signal, cache: "no-store" });
}
