// Where the reader is, as the part of the address after `#`: `#/run/ID/agents?status=failed&agent=a0001`.

/** The views of one run, in the order of their tabs. */
export const VIEWS = [
  ["overview", "Overview"],
  ["graph", "Graph"],
  ["timeline", "Timeline"],
  ["agents", "Agents"],
  ["log", "Log"],
  ["problems", "Problems"],
  ["result", "Result"],
];

const NAMES = new Set(VIEWS.map(([name]) => name));

/** What an address means: `{runId, view, agent, query}`; `runId` is null for the list of runs. */
export function readRoute(hash = location.hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [kind, runId, view] = path.split("/").map(decoded);
  const query = new URLSearchParams(search);
  const agent = query.get("agent");
  query.delete("agent");
  return {
    runId: kind === "run" && runId ? runId : null,
    view: NAMES.has(view) ? view : "overview",
    agent: agent || null,
    query: Object.fromEntries(query),
  };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a % that stands for nothing
  }
}

/** The address of a place. */
export function addressOf({ runId = null, view = "overview", agent = null, query = {} }) {
  if (!runId) return "#/";
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  if (agent) search.set("agent", agent);
  const words = search.toString();
  return `#/run/${encodeURIComponent(runId)}/${view}${words ? `?${words}` : ""}`;
}
