// Try it: the browser calls the gateway as any program would. The key is read from its field when a call is sent, goes
// into one header of that call, and is kept nowhere.

const words = JSON.parse(document.getElementById("try-words")?.textContent ?? "{}");
const byId = (id) => document.getElementById(id);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

const SECONDS = 60;
const MOST_BYTES = 256 * 1024;
const WITHOUT_BODY = ["GET", "DELETE"];

let running = null; // the call that is under way: its AbortController, and why it was stopped

function enhance() {
  for (const one of document.querySelectorAll("[data-try-shown]")) one.hidden = false;
  const call = byId("try-call");
  if (!call) return;
  for (const one of document.querySelectorAll("[data-try-chosen]")) one.value = call.dataset.model;
  showBody();
}

const showBody = () => {
  document.querySelector("[data-try-body]").hidden = WITHOUT_BODY.includes(byId("try-method").value);
};

const language = document.documentElement.lang;
const number = (value) => new Intl.NumberFormat(language).format(value);
const quantity = (value, unit, unitDisplay) =>
  new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 }).format(value);

function size(bytes) {
  return bytes < 1024 ? quantity(bytes, "byte", "long") : quantity(bytes / 1024, "kilobyte", "short");
}

// 418430 s → 4.8 days: the greatest unit of which there are two.
function duration(seconds) {
  const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, one]) => seconds >= 2 * one || one === 1);
  return quantity(seconds / length, unit, "long");
}

// The address, if it is below the model's own once the browser has resolved it.
function addressOf(base, path) {
  let url;
  try {
    url = new URL(base + path);
  } catch {
    return null;
  }
  const below = url.href === base || ["/", "?"].some((next) => url.href.startsWith(base + next));
  return path.startsWith("/") && below && !url.hash ? url.href : null;
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function send() {
  const { base, cost } = byId("try-call").dataset;
  const key = byId("try-key").value.trim();
  const address = addressOf(base, byId("try-path").value.trim());
  clear();
  if (!key) return explain(words.no_key, byId("try-key"));
  if (!/^[\x21-\x7e]+$/.test(key)) return explain(words.no_bearer, byId("try-key"));
  if (!address) return explain(words.bad_path, byId("try-path"));

  const method = byId("try-method").value;
  const headers = { Authorization: `Bearer ${key}` };
  const options = { method, headers, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", redirect: "manual" };
  if (!WITHOUT_BODY.includes(method) && byId("try-body").value) {
    options.body = byId("try-body").value;
    headers["Content-Type"] = isJson(options.body) ? "application/json" : "text/plain; charset=utf-8";
  }

  const mine = { controller: new AbortController(), why: "" };
  running = mine;
  const timer = setTimeout(() => stop(mine, "too_slow"), SECONDS * 1000);
  busy(true);
  const start = performance.now();
  try {
    const answer = await fetch(address, { ...options, signal: mine.controller.signal });
    if (answer.type === "opaqueredirect") return explain(words.redirected);
    const first = performance.now() - start;
    const read = await bodyOf(answer, mine);
    show(answer, read, { first, all: performance.now() - start, cost: Number(cost) });
  } catch {
    explain(fill(words[mine.why || "unreachable"], { seconds: SECONDS }));
  } finally {
    clearTimeout(timer);
    running = null;
    busy(false);
  }
}

function stop(call, why) {
  if (!call) return;
  call.why = why;
  call.controller.abort();
}

// The text as it arrives, up to a bound. What ended it early is in `note`.
async function bodyOf(answer, mine) {
  const decoder = new TextDecoder();
  const code = byId("try-text").querySelector("code");
  let text = "", bytes = 0, note = "";
  const reader = answer.body?.getReader();
  try {
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      const room = MOST_BYTES - bytes;
      bytes += value.length;
      text += decoder.decode(value.subarray(0, room), { stream: true });
      code.textContent = text;
      byId("try-text").hidden = false;
      byId("try-busy").querySelector("p").textContent = fill(words.reading, { bytes: size(bytes) });
      if (bytes > MOST_BYTES) {
        note = fill(words.cut, { bytes: size(MOST_BYTES) });
        mine.controller.abort();
        break;
      }
    }
  } catch {
    note = fill(words[mine.why || "broken_off"], { seconds: SECONDS });
  }
  return { text, bytes: Math.min(bytes, MOST_BYTES), note };
}

function show(answer, read, took) {
  const badge = byId("try-status");
  badge.textContent = `${answer.status} ${answer.statusText}`.trim();
  badge.className = `badge ${answer.ok ? "good" : answer.status === 429 ? "warn" : "bad"}`;
  badge.hidden = false;

  let document_ = null;
  if ((answer.headers.get("content-type") ?? "").includes("json")) {
    try {
      document_ = JSON.parse(read.text);
    } catch { /* cut off, or not JSON after all: shown as it is */ }
  }
  byId("try-text").querySelector("code").textContent = document_ === null ? read.text || words.empty : JSON.stringify(document_, null, 2);
  byId("try-text").hidden = false;

  const refused = isRefusal(answer, document_);
  if (refused) problem(document_.title, document_.detail, document_.type);
  else if (read.note) problem("", read.note);
  facts(byId("try-facts"), [
    [words.name_time, fill(words.took, { first: number(Math.round(took.first)), all: number(Math.round(took.all)) })],
    [words.name_size, fill(words.size, { bytes: size(read.bytes) })],
    [words.name_cost, refused ? words.nothing_charged : fill(took.cost === 1 ? words.units_one : words.units_many, { count: number(took.cost) })],
    ...left(answer.headers),
  ]);
  facts(byId("try-headers").querySelector("dl"), [...answer.headers]);
  byId("try-headers").hidden = false;
}

// Whether the gate refused the call: then the model has not seen it, and nothing was taken.
function isRefusal(answer, problem_) {
  const errors = byId("try-result").dataset.errors;
  return !answer.ok && typeof problem_?.type === "string" && problem_.type.startsWith(errors);
}

// RateLimit: "minute";r=9;t=1, "month";r=9999;t=418430, with the amounts of RateLimit-Policy.
function left(headers) {
  const amounts = new Map(members(headers.get("ratelimit-policy")).map(({ name, q }) => [name, q]));
  const meters = members(headers.get("ratelimit"));
  if (!meters.length) return [[words.name_left, words.not_passed_on]];
  return meters.map(({ name, r, t }) => {
    const said = fill(amounts.has(name) ? words.left : words.left_only, { left: number(r), amount: number(amounts.get(name)) });
    return [fill(words.name_limit, { name }), Number(t) > 0 ? `${said}, ${fill(words.full_in, { time: duration(Number(t)) })}` : said];
  });
}

function members(header) {
  return [...(header ?? "").matchAll(/"([^"]*)"((?:;\w+=\d+)*)/g)].map(([, name, rest]) => ({
    name, ...Object.fromEntries([...rest.matchAll(/;(\w+)=(\d+)/g)].map(([, letter, value]) => [letter, value])),
  }));
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.map(([name, value]) => {
    const [row, term, said] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    said.textContent = value;
    said.className = "break";
    row.append(term, said);
    return row;
  }));
  list.hidden = false;
}

function problem(title, detail, type) {
  const note = byId("try-problem");
  const [heading, text, link] = [note.querySelector("b"), note.querySelectorAll("p")[1], note.querySelector("a")];
  heading.textContent = title;
  heading.parentElement.hidden = !title;
  text.textContent = detail;
  link.hidden = !type;
  link.textContent = words.what_to_do;
  if (type) link.href = type;
  note.hidden = false;
}

function explain(text, field) {
  problem("", text);
  field?.focus();
}

function clear() {
  for (const id of ["try-nothing", "try-problem", "try-facts", "try-text", "try-headers", "try-status"]) byId(id).hidden = true;
}

function busy(is) {
  byId("try-busy").hidden = !is;
  byId("try-busy").querySelector("p").textContent = words.calling;
  byId("try-stop").hidden = !is;
  byId("try-send").disabled = is;
  byId("try-model").disabled = is;
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "try-form") return;
  event.preventDefault();
  if (!running) send();
});
document.addEventListener("click", (event) => { if (event.target.closest("#try-stop")) stop(running, "stopped"); });
document.addEventListener("change", (event) => { if (event.target.id === "try-method") showBody(); });
document.addEventListener("htmx:afterSwap", enhance);
enhance();
