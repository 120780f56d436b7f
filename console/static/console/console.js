// What the pages gain with JavaScript: each of them works without it.

const told = document.getElementById("told");
const say = (words) => { if (told) told.textContent = words; };

// Copy buttons are hidden until there is somebody to obey them.
function showCopyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const words = button.querySelector("span");
  const usual = (button.dataset.usual ??= words.textContent);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    words.textContent = button.dataset.copied;
    say(button.dataset.copied);
  } catch {
    getSelection().selectAllChildren(source);
    words.textContent = button.dataset.byHand;
  }
  setTimeout(() => { words.textContent = usual; }, 2000);
});

// Light or dark at once, without leaving the page.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-themes]");
  if (!form || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  fetch(form.action, { method: "POST", body: new FormData(form, event.submitter), redirect: "manual" });
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  for (const one of form.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === event.submitter));
});

// Times in the reader's own zone; the UTC time stays on hover.
const language = document.documentElement.lang;
const written = language === "en" ? "en-GB" : language; // the server writes English dates as 26 Nov 2026
const day = new Intl.DateTimeFormat(written, { day: "numeric", month: "short", year: "numeric" });
const date = new Intl.DateTimeFormat(written, { day: "numeric", month: "long", year: "numeric" });
const clock = new Intl.DateTimeFormat(written, { hour: "2-digit", minute: "2-digit" });
const moment = document.body.dataset.moment; // "{date}, {time}", in the page's language
const full = (when) => moment.replace("{date}", day.format(when)).replace("{time}", clock.format(when));
function localTimes(root) {
  for (const time of root.querySelectorAll("time[data-style]")) {
    const when = new Date(time.dateTime);
    const { style, utc = time.title } = time.dataset;
    if (style === "full") time.textContent = full(when);
    else if (style === "date") time.textContent = date.format(when);
    else if (style === "day") time.textContent = day.format(when);
    time.dataset.utc = utc;
    time.title = style === "full" ? utc : `${full(when)}\n${utc}`; // what the words leave out, then UTC
  }
}

// A button that ends something waits until its name is typed. The server compares again.
function guardNames(root) {
  for (const input of root.querySelectorAll("[data-must-be]")) {
    const button = input.form.querySelector("button");
    const compare = () => { button.disabled = input.value !== input.dataset.mustBe; };
    input.addEventListener("input", compare);
    compare();
  }
}

// The secret is shown once: ask before the page is left without a copy.
const secret = document.querySelector("[data-secret]");
if (secret) {
  let isStored = false;
  const ask = (event) => { if (!isStored) event.preventDefault(); };
  addEventListener("beforeunload", ask);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-copy], [data-stored]")) isStored = true;
  });
}

// What a bar stands for, beside the pointer.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
document.addEventListener("pointermove", (event) => {
  const bar = event.target.closest?.(".chart g[data-tip]");
  tip.hidden = !bar;
  if (!bar) return;
  tip.textContent = bar.dataset.tip;
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 12, 8)}px`;
});

// A menu closes when the pointer or Escape says so.
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.switcher[open]")) if (!open.contains(event.target)) open.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.switcher[open]")) { open.open = false; open.querySelector("summary").focus(); }
});

function tips(root) {
  for (const title of root.querySelectorAll(".chart g > title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }
}

function enhance(root) { tips(root); showCopyButtons(root); localTimes(root); guardNames(root); }
enhance(document);
document.addEventListener("htmx:afterSwap", (event) => enhance(event.detail.target ?? document));
