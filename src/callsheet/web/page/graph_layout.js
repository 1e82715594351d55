// Where the calls of a run stand in its graph: siblings of one kind as one node, layer by layer, from left to right.

import { labelStem, standing } from "./board.js";

export const NODE_W = 212;
export const NODE_H = 68;
const GAP_X = 72;
const GAP_Y = 16;
const CHIP_W = 168;
const CHIP_H = 26;
const GROUP_FROM = 6; // so many siblings of one kind are one node
const CHIPS_MOST = 600;
const CHAIN_FROM = 8; // so many calls of one kind, each after the other, are one node
const SEEN_SPAN = 1; // results that were only seen are shown as lines to the next layer alone
const SWEEPS = 4;

/** How deep each call lies: one more than the deepest that led to it. */
function depths(nodes, edges) {
  const into = new Map(nodes.map((node) => [node.id, []]));
  for (const edge of edges) if (edge.kind === "led_to") into.get(edge.to)?.push(edge.from);
  const found = new Map();
  for (const node of nodes) {
    // Calls are in their order, and nothing is led to by a later one.
    const before = into.get(node.id).map((id) => found.get(id) ?? -1);
    found.set(node.id, before.length ? Math.max(...before) + 1 : 0);
  }
  return found;
}

function gather(nodes, depth) {
  const kinds = new Map();
  for (const node of nodes) {
    const kind = JSON.stringify([depth.get(node.id), node.script ?? 0, node.workflow, node.phase, labelStem(node.label)]);
    if (!kinds.has(kind)) kinds.set(kind, []);
    kinds.get(kind).push(node);
  }
  const groups = [];
  for (const [kind, members] of kinds) {
    if (members.length >= GROUP_FROM) groups.push(newGroup(`g${kind}`, members, depth.get(members[0].id)));
    else for (const node of members) groups.push(newGroup(`n${node.id}`, [node], depth.get(node.id)));
  }
  return groups;
}

function newGroup(id, members, layer) {
  return { id, members, layer, stem: members.length > 1 ? labelStem(members[0].label) : members[0].label, isChain: false };
}

function link(groups, edges) {
  const ofNode = new Map();
  for (const group of groups) for (const node of group.members) ofNode.set(node.id, group);
  const found = new Map();
  for (const edge of edges) {
    const from = ofNode.get(edge.from);
    const to = ofNode.get(edge.to);
    if (!from || !to || from === to || to.layer <= from.layer) continue;
    if (edge.kind === "seen" && to.layer - from.layer > SEEN_SPAN) continue;
    const key = `${from.id} ${to.id}`;
    const line = found.get(key) ?? { key, from, to, kind: "seen", number: 0 };
    if (edge.kind === "led_to") line.kind = "led_to";
    line.number += 1;
    found.set(key, line);
  }
  return [...found.values()];
}

/** Runs of calls of one kind, each led to by the one before, become one node. */
function chained(groups, lines) {
  const next = new Map();
  const before = new Map();
  for (const line of lines) {
    next.set(line.from, [...(next.get(line.from) ?? []), line.to]);
    before.set(line.to, [...(before.get(line.to) ?? []), line.from]);
  }
  const follows = (one, other) =>
    next.get(one)?.length === 1 && before.get(other)?.length === 1 && one.members.length === 1 && other.members.length === 1 &&
    kindOf(one) === kindOf(other);
  const gone = new Set();
  const made = [];
  for (const group of groups) {
    const previous = before.get(group)?.[0];
    if (gone.has(group) || (previous && follows(previous, group))) continue;
    const chain = [group];
    for (let at = group; next.get(at)?.length === 1 && follows(at, next.get(at)[0]); at = next.get(at)[0]) chain.push(next.get(at)[0]);
    if (chain.length < CHAIN_FROM) continue;
    chain.forEach((each) => gone.add(each));
    made.push({ ...newGroup(`c${chain[0].id}`, chain.flatMap((each) => each.members), group.layer), isChain: true });
  }
  return made.length ? [...groups.filter((group) => !gone.has(group)), ...made] : groups;
}

function kindOf(group) {
  const [node] = group.members;
  return JSON.stringify([node.script, node.workflow, node.phase, labelStem(node.label)]);
}

function size(group, opened) {
  if (group.members.length === 1 || !opened.has(group.id)) return [NODE_W, NODE_H];
  const chips = Math.min(group.members.length, CHIPS_MOST);
  const columns = Math.max(2, Math.min(8, Math.ceil(Math.sqrt(chips / 3))));
  return [columns * CHIP_W + 16, NODE_H + Math.ceil(chips / columns) * CHIP_H + 12 + (group.members.length > chips ? 28 : 0)];
}

/**
 * The layout of a graph.
 *
 * @param {{nodes: object[], edges: object[]}} graph As `callsheet graph` gives it.
 * @param {Set<string>} opened The ids of the nodes whose members are shown.
 * @returns {{groups: object[], lines: object[], width: number, height: number}} Groups with `x y w h` and, where they are open, `chips`.
 */
export function layOut(graph, opened) {
  const depth = depths(graph.nodes, graph.edges);
  const gathered = gather(graph.nodes, depth);
  const groups = chained(gathered, link(gathered, graph.edges));
  const lines = link(groups, graph.edges);
  const layers = [];
  for (const group of groups) (layers[group.layer] ??= []).push(group);
  const packed = layers.filter(Boolean);
  const into = new Map(groups.map((group) => [group, []]));
  const out = new Map(groups.map((group) => [group, []]));
  for (const line of lines) {
    into.get(line.to).push(line.from);
    out.get(line.from).push(line.to);
  }
  for (const group of groups) [group.w, group.h] = size(group, opened);
  order(packed, into, out);
  return { groups, lines, ...place(packed, into, opened) };
}

function order(layers, into, out) {
  layers.forEach((layer) => layer.forEach((group, at) => (group.rank = at)));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isDown = sweep % 2 === 0;
    for (const layer of isDown ? layers : [...layers].reverse()) {
      const wish = new Map(layer.map((group) => {
        const near = (isDown ? into : out).get(group);
        return [group, near.length ? near.reduce((sum, each) => sum + each.rank, 0) / near.length : group.rank];
      }));
      layer.sort((one, other) => wish.get(one) - wish.get(other) || one.rank - other.rank);
      layer.forEach((group, at) => (group.rank = at));
    }
  }
}

function place(layers, into, opened) {
  let x = 0;
  let top = 0;
  let bottom = 0;
  for (const layer of layers) {
    const width = Math.max(...layer.map((group) => group.w));
    const total = layer.reduce((sum, group) => sum + group.h + GAP_Y, -GAP_Y);
    const wishes = layer.map((group) => {
      const near = into.get(group).filter((each) => each.y !== undefined);
      return near.length ? near.reduce((sum, each) => sum + each.y + Math.min(each.h, NODE_H) / 2, 0) / near.length - Math.min(group.h, NODE_H) / 2 : null;
    });
    let y = -total / 2;
    layer.forEach((group, at) => {
      group.x = x;
      group.y = wishes[at] === null ? y : Math.max(y, wishes[at]);
      y = group.y + group.h + GAP_Y;
    });
    centre(layer, wishes);
    top = Math.min(top, layer[0].y);
    bottom = Math.max(bottom, ...layer.map((group) => group.y + group.h));
    x += width + GAP_X;
  }
  for (const layer of layers) for (const group of layer) {
    group.y -= top;
    if (group.members.length > 1 && opened.has(group.id)) group.chips = chipsOf(group);
  }
  return { width: Math.max(0, x - GAP_X), height: bottom - top };
}

/** Moves a layer up by what it was pushed down on the whole, so that it stands beside what led to it. */
function centre(layer, wishes) {
  const known = layer.map((group, at) => (wishes[at] === null ? null : group.y - wishes[at])).filter((shift) => shift !== null);
  if (!known.length) return;
  const shift = known.reduce((sum, each) => sum + each, 0) / known.length;
  for (const group of layer) group.y -= shift;
}

function chipsOf(group) {
  const shared = sharedStart(group.members);
  const columns = Math.round((group.w - 16) / CHIP_W);
  return group.members.slice(0, CHIPS_MOST).map((node, at) => ({
    node,
    words: node.label.slice(shared) || node.label,
    x: 8 + (at % columns) * CHIP_W,
    y: NODE_H + 4 + Math.floor(at / columns) * CHIP_H,
    w: CHIP_W - 6,
    h: CHIP_H - 4,
  }));
}

/** How much of their labels all have in common, up to a place where words part. */
function sharedStart(members) {
  const [first] = members;
  let length = first.label.length;
  for (const { label } of members) {
    let at = 0;
    while (at < length && label[at] === first.label[at]) at += 1;
    length = at;
  }
  return first.label.slice(0, length).search(/[^\s:/#]*$/u);
}

/** How the members of a group stand, what they used and how long they took, as the board has it now. */
export function figuresOf(group, board, now, workedMs) {
  const counts = {};
  let tokens = 0;
  let cost = 0;
  let isPriced = true;
  let most = null;
  for (const node of group.members) {
    const agent = board.agents.get(node.id);
    if (!agent) continue;
    const status = standing(agent);
    counts[status] = (counts[status] ?? 0) + 1;
    tokens += agent.usage.output_tokens;
    if (agent.usage.cost_usd === null) isPriced = false;
    else cost += agent.usage.cost_usd;
    const worked = workedMs(agent, now);
    if (worked !== null) most = group.isChain ? (most ?? 0) + worked : Math.max(most ?? 0, worked);
  }
  return { counts, tokens, cost: isPriced ? cost : null, worked: most };
}
