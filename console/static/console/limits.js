// A limit in plain words while it is being typed. The server writes them, as it does after saving.

const FIELDS = ["scope", "model", "amount", "window", "unit", "burst", "shadow"];

async function tell(row) {
  const words = row.querySelector("[data-words]");
  if (!words) return;
  const asked = new URLSearchParams();
  for (const field of FIELDS) {
    const input = row.querySelector(`[name$="-${field}"]`);
    if (input && (input.type !== "checkbox" || input.checked)) asked.set(field, input.value);
  }
  const turn = (row.turn = (row.turn ?? 0) + 1);
  const answer = await fetch(`${words.dataset.words}?${asked}`, { headers: { Accept: "text/plain" } });
  const text = answer.ok && !answer.redirected ? await answer.text() : "";
  if (turn === row.turn) words.textContent = text;
}

const waiting = new Map();
document.addEventListener("input", ({ target }) => {
  const row = target.closest?.(".inline-group tr.form-row");
  if (!row) return;
  clearTimeout(waiting.get(row));
  waiting.set(row, setTimeout(() => tell(row), 150));
});
