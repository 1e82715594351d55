// Where the page has its data from: the server that it came from, or the report that it stands in.

import { RunBoard } from "./board.js";

const AGAIN_MS = [500, 1000, 2000, 5000];

/** The data of a report, which stands in the page; null on a page that a server sends. */
export function embedded() {
  const element = document.getElementById("report-data");
  return element ? JSON.parse(element.textContent) : null;
}

/** A report: nothing in it changes, and nothing can be done in it. */
export class ReportSource {
  constructor(report) {
    this.report = report;
    this.isReport = true;
    this.hasControl = false;
    this.version = report.version;
    this.writtenAt = Date.parse(report.written_at);
    this.board = new RunBoard();
    this.board.take(report.board);
  }

  now() {
    return this.writtenAt;
  }

  watchRun(runId, changed) {
    changed();
    return { board: this.board, close() {} };
  }

  async graph() {
    const { nodes, edges, ...rest } = this.report.graph;
    return { ...rest, nodes, edges: edges.map(([from, to, led]) => ({ from: nodes[from].id, to: nodes[to].id, kind: led ? "led_to" : "seen" })) };
  }

  async agent(runId, agentId) {
    return this.report.agents[agentId] ?? null;
  }
}

/** The server of `callsheet serve`. */
export class LiveSource {
  constructor() {
    this.isReport = false;
    this.hasControl = false;
    this.version = "";
    this.runs = null;
    this.fault = null;
  }

  now() {
    return Date.now();
  }

  /** Keeps `runs` true while the page stands. Gives what ends it. */
  watchRuns(changed) {
    const take = (said) => {
      this.runs = said.runs;
      this.version = said.version ?? this.version;
      this.hasControl = said.control ?? this.hasControl;
      this.fault = null;
      changed();
    };
    return watched("/api/runs", "/api/runs/stream", ["runs", "message"], take, (fault) => {
      this.fault = fault;
      changed();
    });
  }

  /** The board of a run, kept true until `close`. */
  watchRun(runId, changed) {
    const board = new RunBoard();
    const path = `/api/runs/${encodeURIComponent(runId)}`;
    const take = (said) => {
      board.take(said);
      board.isHeard = true;
      board.fault = null;
      changed();
    };
    const lost = (fault) => {
      board.isHeard = false;
      board.fault = fault;
      changed();
    };
    const close = watched(path, () => `${path}/stream?after=${board.said.seq ?? 0}`, ["board"], take, lost);
    return { board, close };
  }

  graph(runId) {
    return asked(`/api/runs/${encodeURIComponent(runId)}/graph`);
  }

  agent(runId, agentId, after = 0) {
    return asked(`/api/runs/${encodeURIComponent(runId)}/agents/${encodeURIComponent(agentId)}${after ? `?after=${after}` : ""}`);
  }

  /** Does something in a run. Gives nothing, or throws what to tell the reader. */
  async act(runId, path, body = {}) {
    const answer = await fetch(`/api/runs/${encodeURIComponent(runId)}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Callsheet": "1" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(await faultOf(answer));
    return answer.json().catch(() => null);
  }
}

/** Asks once, then listens; begins again where the line breaks. */
function watched(path, streamPath, names, take, lost) {
  let stream = null;
  let timer = 0;
  let tries = 0;
  let isClosed = false;
  const again = (fault) => {
    stream?.close();
    if (isClosed) return;
    lost(fault);
    if (fault.isFinal) return;
    timer = setTimeout(begin, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]);
    tries += 1;
  };
  const begin = async () => {
    try {
      const said = await asked(path);
      if (isClosed) return;
      take(said);
      tries = 0;
      if (said.is_over) return;
    } catch (fault) {
      again(fault);
      return;
    }
    stream = new EventSource(typeof streamPath === "function" ? streamPath() : streamPath);
    for (const name of names) stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
    stream.addEventListener("end", () => stream.close());
    stream.addEventListener("lost", (event) => {
      stream.close();
      if (event.data) takeLost(event.data, take);
    });
    stream.onerror = () => again(new Error("The server does not answer. Trying again …"));
  };
  begin();
  return () => {
    isClosed = true;
    clearTimeout(timer);
    stream?.close();
  };
}

function takeLost(text, take) {
  let why = text;
  try {
    const said = JSON.parse(text);
    why = typeof said === "string" ? said : (said.lost ?? said.message ?? said.why ?? "");
  } catch {
    // it is the text
  }
  take({ lost: why || "Nothing more is heard of it: its process is gone.", is_over: true });
}

async function asked(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    const fault = new Error(await faultOf(answer));
    fault.isFinal = [401, 403, 404].includes(answer.status);
    throw fault;
  }
  return answer.json();
}

async function faultOf(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const said = JSON.parse(text);
    const fault = said.error ?? said.message ?? said.detail;
    return (typeof fault === "string" ? fault : fault?.message) || `${answer.status} ${answer.statusText}`;
  } catch {
    return text.slice(0, 300) || `${answer.status} ${answer.statusText}`;
  }
}
