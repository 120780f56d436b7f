// Names for what Django's scripts leave without one: boxes that stand in for a select, and pictures of calendars and clocks.

function name() {
  for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
    const words = select.getAttribute("aria-label") || select.labels?.[0]?.textContent.replace(/:\s*$/, "").trim();
    if (!words) continue;
    for (const box of select.nextElementSibling?.querySelectorAll("[role=combobox], [role=textbox]") ?? []) {
      box.removeAttribute("aria-labelledby");
      box.setAttribute("aria-label", words);
    }
  }
  for (const icon of document.querySelectorAll(".datetimeshortcuts a > span[title]")) {
    icon.parentElement.setAttribute("aria-label", icon.title);
  }
}

// They put them there whenever they are ready, and with each new row.
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
name();
