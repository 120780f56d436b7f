() => {
  const faults = [];
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, two) => { const [a, b] = [luminance(one), luminance(two)].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); };
  const background = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && box.width > 1 && box.height > 1 && style.clipPath !== "inset(50%)";
  };
  const words = (element) => (element.getAttribute("aria-label") || element.innerText || element.title || "").trim();
  const said = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") || ""}"> ${words(element).slice(0, 40)}`;

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isSeen(element) || element.closest("svg, noscript, :disabled, option")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ground = background(element);
    const found = contrast(over(rgba(style.color), ground), ground);
    if (found < needed) faults.push(`contrast ${found.toFixed(2)}: ${said(element)}`);
  }
  for (const element of document.querySelectorAll("a[href], button, summary, [role=img]")) {
    if (isSeen(element) && !words(element)) faults.push(`no name: ${said(element)}`);
  }
  for (const element of document.querySelectorAll("button, select, summary, input:not([type=hidden], [type=radio], [type=checkbox]), nav a")) {
    const box = element.getBoundingClientRect();
    if (isSeen(element) && (box.height < 24 && !element.closest(".crumbs") && getComputedStyle(element).display !== "inline")) faults.push(`small (${box.width.toFixed()}×${box.height.toFixed()}): ${said(element)}`);
  }
  for (const element of document.querySelectorAll("input:not([type=hidden], [type=submit]), select, textarea")) {
    if (element.checkVisibility() && !element.labels?.length && !element.getAttribute("aria-label")) faults.push(`no label: ${element.outerHTML.slice(0, 90)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll("[aria-describedby], [aria-labelledby], label[for]")) {
    const named = element.getAttribute("aria-describedby") || element.getAttribute("aria-labelledby") || element.htmlFor;
    for (const id of named.split(" ")) if (!document.getElementById(id)) faults.push(`names nothing: ${id}`);
  }
  for (const use of document.querySelectorAll("svg use")) if (!document.querySelector(use.getAttribute("href"))) faults.push(`no such icon: ${use.getAttribute("href")}`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) faults.push(`heading skips a level: ${said(heading)}`);
    level = now;
  }
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  const wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wider > 0) faults.push(`wider than the window by ${wider}`);
  return faults;
}
