// Text from scripts, agents and files, shown as text: the same table as `callsheet.views.safe_text`, which a test holds it to.
// What cannot be seen, or would reorder what is seen, is replaced by something that can be seen.

const INVISIBLE =
  "\\u007f-\\u009f" + // delete and the C1 controls
  "\\u00ad\\u034f\\u061c\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2" +
  "\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
  "\\u200b-\\u200f" + // zero width, and the marks of direction
  "\\u2028-\\u202e" + // line and paragraph separators, bidi embeddings and overrides
  "\\u2060-\\u206f" + // joiners, invisible operators, bidi isolates
  "\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb" +
  "\\ud800-\\udfff" + // half of a character
  "\\u{110bd}\\u{110cd}\\u{13430}-\\u{1343f}\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}" +
  "\\u{e0000}-\\u{e0fff}"; // tags and variation selectors that can carry hidden text
const SELECTORS = "\\ufe00-\\ufe0f";
const SPACES = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"; // Python's \s
const LOOSE_SELECTOR = `(?:^|(?<=[${SPACES}${SELECTORS}]))[${SELECTORS}]`;
const MULTILINE = new RegExp(`[\\x00-\\x08\\x0b-\\x1f${INVISIBLE}]|${LOOSE_SELECTOR}`, "gu");
const ONE_LINE = new RegExp(`[\\x00-\\x1f${INVISIBLE}]|${LOOSE_SELECTOR}`, "gu");
const PLAIN = /^[\x20-\x7e]*$/;

function picture(character) {
  const point = character.codePointAt(0);
  if (point < 0x20) return String.fromCharCode(0x2400 + point);
  if (point === 0x7f) return "␡";
  return `⟨U+${point.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** The text with every control, invisible and direction-changing character made visible; line ends and tabs stay. */
export function visible(text) {
  return PLAIN.test(text) ? text : text.replaceAll("\r\n", "\n").replace(MULTILINE, picture);
}

/** As `visible`, for where one line is right; `limit` characters at most, 0 for all. */
export function oneLine(text, limit = 0) {
  let shown = text;
  if (limit && shown.length > limit) {
    const points = Array.from(shown.slice(0, 2 * limit + 2)); // never half of a character
    if (points.length > limit) shown = `${points.slice(0, limit - 1).join("")}…`;
  }
  return PLAIN.test(shown) ? shown : shown.replaceAll("\r\n", "\n").replace(ONE_LINE, picture);
}
