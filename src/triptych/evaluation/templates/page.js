"use strict";
// Every part of the page works on its own: a page that lacks one, lacks its elements.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
document.documentElement.classList.add("has-script");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", text, { value })));
  if (chosen !== undefined) select.value = chosen;
}

// The tip beside the pointer.
const tip = byId("tip");
function showTip(content, x, y) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const left = Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8);
  const top = y + 14 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 8 : y + 14;
  tip.style.left = `${Math.max(4, left) + window.scrollX}px`;
  tip.style.top = `${Math.max(4, top) + window.scrollY}px`;
}
const hideTip = () => { tip.hidden = true; };
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

// Charts: what a mark says to a screen reader, it shows to the pointer, too.
const MARKS = '[role="graphics-symbol"]:not([aria-roledescription="axis"])';
for (const svg of document.querySelectorAll("figure svg[aria-label]")) {
  svg.addEventListener("pointermove", (event) => {
    const mark = event.target.closest(MARKS);
    if (mark) showTip([element("span", mark.getAttribute("aria-label"))], event.clientX, event.clientY);
    else if (!svg.closest("[data-curve]")) hideTip();
  });
  svg.addEventListener("pointerleave", hideTip);
}

// The legend: a panel that is chosen stands out in all charts, found by its colour.
const colours = data.colours ?? {};
const chosenPanels = new Set();
function highlight() {
  const shown = [...chosenPanels].map((label) => colours[label]);
  for (const mark of document.querySelectorAll(`figure svg ${MARKS}, figure svg .mark-rule line, figure svg .mark-area path`)) {
    const own = [mark.getAttribute("fill"), mark.getAttribute("stroke")];
    const ofPanel = Object.values(colours).some((colour) => own.includes(colour));
    mark.classList.toggle("dim", chosenPanels.size > 0 && ofPanel && !shown.some((colour) => own.includes(colour)));
  }
  for (const row of document.querySelectorAll("#ranking tbody tr"))
    row.classList.toggle("dim", chosenPanels.size > 0 && !chosenPanels.has(row.cells[0].textContent));
}
for (const button of document.querySelectorAll("button[data-panel]"))
  button.addEventListener("click", () => {
    const label = button.dataset.panel;
    if (!chosenPanels.delete(label)) chosenPanels.add(label);
    button.setAttribute("aria-pressed", chosenPanels.has(label));
    highlight();
  });

// Curves: the values of all panels at the epoch under the pointer, or at the one that the arrow keys choose.
for (const figure of document.querySelectorAll("figure[data-curve]")) {
  const series = Object.entries(data.curves ?? {})
    .map(([label, curves]) => [label, curves[figure.dataset.curve] ?? []])
    .filter(([, values]) => values.length);
  const epochs = Math.max(0, ...series.map(([, values]) => values.length));
  const plot = figure.querySelector("svg .background");
  if (epochs < 2 || !plot) continue;
  let epoch = epochs;
  const show = (x, y) => {
    const rows = series.map(([label, values]) => {
      const row = element("tr");
      const name = element("th", label, { scope: "row" });
      name.prepend(element("i", undefined, { class: "swatch", style: `background:${colours[label]}` }));
      const value = values.length === 1 ? values[0] : values[epoch - 1];
      row.append(name, element("td", value === undefined ? "ended" : value.toFixed(4)));
      return row;
    });
    const table = element("table");
    table.append(...rows);
    showTip([element("strong", `epoch ${epoch}`), table], x, y);
  };
  // The axis of epochs: its labels give the scale.
  const ticks = [...figure.querySelectorAll('svg [aria-label^="X-axis"] .role-axis-label text')].map((text) => [
    Number(text.textContent.replaceAll(",", "")), text.getBoundingClientRect()]);
  figure.addEventListener("pointermove", (event) => {
    if (event.target.closest(MARKS)?.getAttribute("aria-roledescription") === "point") return;
    const box = plot.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside || ticks.length < 2) { hideTip(); return; }
    const domain = figure.querySelector('svg [aria-label^="X-axis"]').getAttribute("aria-label").match(/from ([\d.,]+) to ([\d.,]+)/);
    const [low, high] = domain.slice(1).map((text) => Number(text.replaceAll(",", "")));
    const at = low + ((event.clientX - box.left) / box.width) * (high - low);
    epoch = Math.min(epochs, Math.max(1, Math.round(at)));
    show(event.clientX, event.clientY);
  });
  figure.addEventListener("pointerleave", hideTip);
  figure.addEventListener("blur", hideTip);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    epoch = Math.min(epochs, Math.max(1, epoch + step));
    const box = plot.getBoundingClientRect();
    show(box.left + 20, box.top + 10);
  });
}

// Mistakes: two panels, a pair of classes, a page at a time.
const PAGE = 12;
if (byId("browser")) {
  const { panels, images, truths, answers, confidences, pictures } = data.mistakes;
  const [kind, first, second, truth, answer] = ["kind", "first", "second", "truth", "answer"].map(byId);
  const compared = panels.map((panel, place) => [place, panel.label]).filter(([place]) => panels[place].compared);
  fill(first, compared);
  fill(second, compared, compared[Math.min(1, compared.length - 1)]?.[0]);
  if (compared.length < 2) { kind.value = "wrong"; kind.disabled = true; }
  let page = 0;
  let found = [];

  const isWrong = (panel, image) => answers[panel][image] !== truths[image];
  function search() {
    const [one, other] = [Number(first.value), Number(second.value)];
    const rows = images.map((_, image) => image);
    const differ = kind.value === "differ";
    const certainty = (image) => confidences[differ && !isWrong(one, image) ? other : one][image];
    return rows
      .filter((image) => (differ ? isWrong(one, image) !== isWrong(other, image) : isWrong(one, image)))
      .sort((a, b) => certainty(b) - certainty(a) || a - b);
  }
  const asked = (image, panel) => answers[panel][image];
  function involved() {
    return kind.value === "differ" ? [Number(first.value), Number(second.value)] : [Number(first.value)];
  }
  function refill(keep) {
    byId("second-label").hidden = kind.value !== "differ";
    const all = search();
    const count = (values) => {
      const counts = new Map();
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1]).map(([value, many]) => [value, `${data.classes[value]} (${many})`]);
    };
    const wrong = all.flatMap((image) => [...new Set(involved().filter((panel) => isWrong(panel, image)).map((panel) => asked(image, panel)))]);
    const [trueClass, answered] = keep ? [truth.value, answer.value] : ["", ""];
    fill(truth, [["", "all"], ...count(all.map((image) => truths[image]))], trueClass);
    fill(answer, [["", "all"], ...count(wrong)], answered);
    turn(0);
  }
  function turn(to) {
    found = search().filter((image) => truth.value === "" || truths[image] === Number(truth.value));
    if (answer.value !== "")
      found = found.filter((image) => involved().some((panel) => isWrong(panel, image) && asked(image, panel) === Number(answer.value)));
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(pages - 1, Math.max(0, to));
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
    const from = page * PAGE;
    byId("count").textContent = found.length
      ? `${from + 1} to ${Math.min(from + PAGE, found.length)} of ${found.length} test images, the most certain mistakes first`
      : "no test image";
    byId("gallery").replaceChildren(...found.slice(from, from + PAGE).map(describe));
  }
  function describe(image) {
    const item = element("li");
    if (image < pictures.length) {
      const picture = element("img", undefined, { src: pictures[image], alt: `test image ${images[image]}` });
      picture.addEventListener("load", () => { if (picture.naturalWidth > 64) item.classList.add("photo"); });
      item.append(picture);
    } else item.append(element("span", "no picture on this page", { class: "none" }));
    item.append(element("div", images[image]), element("div", `true class: ${data.classes[truths[image]]}`));
    const table = element("table", undefined, { class: "answers" });
    panels.forEach((panel, place) => {
      if (!panel.compared) return;
      const row = element("tr");
      const wrong = isWrong(place, image);
      row.append(
        element("th", panel.label, { scope: "row" }),
        element("td", `${wrong ? "✗" : "✓"} ${data.classes[answers[place][image]]}`, { class: wrong ? "wrong-answer" : "right-answer" }),
        element("td", (confidences[place][image] / 1000).toFixed(3)));
      table.append(row);
    });
    item.append(table);
    return item;
  }
  for (const select of [kind, first, second]) select.addEventListener("change", () => refill(false));
  for (const select of [truth, answer]) select.addEventListener("change", () => turn(0));
  byId("previous").addEventListener("click", () => turn(page - 1));
  byId("next").addEventListener("click", () => turn(page + 1));
  byId("gallery").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); turn(page + step); }
  });
  refill(false);
  // A confused pair of the list below opens its images.
  window.showPair = (panel, trueClass, wrongClass) => {
    kind.value = "wrong";
    first.value = panel;
    refill(false);
    truth.value = trueClass;
    answer.value = wrongClass;
    turn(0);
    byId("mistakes").scrollIntoView();
    byId("gallery").focus({ preventScroll: true });
  };
}

// Classes: a table of any panel, sorted and searched.
const ROWS = 50;
if (byId("per-class")) {
  const { support, measured, confused } = data.perClass;
  const table = byId("per-class");
  const choice = byId("class-panel");
  const labels = Object.keys(measured);
  fill(choice, labels.map((label) => [label, label]));
  let sortBy = data.classes.length > 20 ? "recall" : "class";
  let ascending = true;
  const headings = [...table.tHead.rows[0].cells];
  const names = ["class", "precision", "recall", "f1", "support"];
  const value = (name, number) =>
    name === "class" ? number : name === "support" ? support[number] : measured[choice.value][name][number];
  headings.forEach((heading, place) => {
    const button = element("button", heading.textContent, { type: "button" });
    button.addEventListener("click", () => {
      ascending = sortBy === names[place] ? !ascending : true;
      sortBy = names[place];
      list();
    });
    heading.replaceChildren(button);
  });
  function list() {
    const text = byId("class-search").value.toLowerCase();
    const all = data.classes.map((_, number) => number).filter((number) => data.classes[number].toLowerCase().includes(text));
    all.sort((a, b) => (value(sortBy, a) - value(sortBy, b)) * (ascending ? 1 : -1) || a - b);
    table.tBodies[0].replaceChildren(...all.slice(0, ROWS).map((number) => {
      const row = element("tr");
      row.append(element("th", data.classes[number], { scope: "row" }));
      for (const name of names.slice(1))
        row.append(element("td", name === "support" ? support[number] : support[number] ? value(name, number).toFixed(3) : "-"));
      return row;
    }));
    headings.forEach((heading, place) => {
      if (names[place] === sortBy) heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
    byId("class-count").textContent = all.length > ROWS ? `the first ${ROWS} of ${all.length} classes` : "";
    listPairs();
  }
  function listPairs() {
    if (!byId("confused")) return;
    byId("confused-of").textContent = choice.value;
    const place = data.mistakes.panels.findIndex((panel) => panel.label === choice.value);
    byId("confused").replaceChildren(...confused[choice.value].map(([trueClass, wrongClass, count]) => {
      const item = element("li");
      const text = `${data.classes[trueClass]} → ${data.classes[wrongClass]}: ${count} answer${count === 1 ? "" : "s"}`;
      if (data.mistakes.panels[place].compared) {
        const link = element("a", text, { href: "#mistakes" });
        link.addEventListener("click", (event) => { event.preventDefault(); window.showPair(place, trueClass, wrongClass); });
        item.append(link);
      } else item.textContent = text;
      return item;
    }));
  }
  choice.addEventListener("change", list);
  byId("class-search").addEventListener("input", list);
  list();
}

// Matrices of any panel, and their differences.
if (byId("matrix-first")) {
  const { counts } = data.perClass;
  const labels = Object.keys(counts);
  const [first, second] = [byId("matrix-first"), byId("matrix-second")];
  fill(first, labels.map((label) => [label, label]));
  fill(second, [["", "nothing"], ...labels.map((label) => [label, label])], labels[1] ?? "");
  const short = (name) => (name.length > 24 ? `${name.slice(0, 11)}…${name.slice(-12)}` : name);
  const build = (title, cell) => {
    const box = element("div", undefined, { class: "wide", tabindex: "0", role: "region", "aria-label": title });
    const table = element("table", undefined, { class: "matrix" });
    table.append(element("caption", title));
    const head = table.createTHead().insertRow();
    head.append(element("td"), ...data.classes.map((name) => {
      const heading = element("th", name.length > 2 ? undefined : name, { scope: "col" });
      if (name.length > 2) heading.append(element("span", short(name)));
      return heading;
    }));
    const body = table.createTBody();
    data.classes.forEach((name, row) => {
      const made = body.insertRow();
      made.append(element("th", short(name), { scope: "row" }));
      data.classes.forEach((_, column) => {
        const [text, strength, kind] = cell(row, column);
        const one = element("td", text);
        if (text) {
          one.style.setProperty("--s", `${strength}%`);
          if (kind) one.classList.add(kind);
          one.classList.toggle("full", strength > 75);
        }
        made.append(one);
      });
    });
    box.append(table);
    return box;
  };
  function redraw() {
    const one = counts[first.value];
    const sums = one.map((row) => Math.max(1, row.reduce((sum, count) => sum + count, 0)));
    const built = [build(first.value, (row, column) => [one[row][column] || "", Math.round((100 * one[row][column]) / sums[row])])];
    if (second.value && second.value !== first.value) {
      const other = counts[second.value];
      const largest = Math.max(1, ...one.flatMap((cells, row) => cells.map((count, column) => Math.abs(count - other[row][column]))));
      built.push(build(`${first.value} minus ${second.value}`, (row, column) => {
        const count = one[row][column] - other[row][column];
        if (!count) return [""];
        const better = count > 0 === (row === column);
        return [`${count > 0 ? "+" : "−"}${Math.abs(count)}`, Math.max(15, Math.round((100 * Math.abs(count)) / largest)), better ? "better" : "worse"];
      }));
    }
    byId("matrices").replaceChildren(...built);
  }
  first.addEventListener("change", redraw);
  second.addEventListener("change", redraw);
}

// The map: the image of the nearest point.
const mapSvg = document.querySelector(".map svg");
if (mapSvg && data.map) {
  const points = [...mapSvg.querySelectorAll("path")].flatMap((path) =>
    [...path.getAttribute("d").matchAll(/M(-?\d+) (-?\d+)/g)].map(([, x, y]) => [Number(x), Number(y), path]));
  const tiles = byId("tiles");
  const NEAR = 25;
  mapSvg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(mapSvg.getScreenCTM().inverse());
    let best = -1;
    let least = NEAR ** 2;
    points.forEach(([x, y], place) => {
      const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (distance < least) [best, least] = [place, distance];
    });
    if (best < 0) { hideTip(); return; }
    const path = points[best][2];
    const content = [];
    if (tiles) {
      const width = tiles.naturalWidth / data.map.perRow;
      const height = tiles.naturalHeight / Math.ceil(points.length / data.map.perRow);
      const scale = Math.max(1, Math.floor(96 / Math.max(width, height)));
      const tile = element("div", undefined, { class: "tile" });
      Object.assign(tile.style, {
        width: `${width * scale}px`, height: `${height * scale}px`, backgroundImage: `url(${tiles.src})`,
        backgroundSize: `${tiles.naturalWidth * scale}px ${tiles.naturalHeight * scale}px`,
        backgroundPosition: `-${(best % data.map.perRow) * width * scale}px -${Math.floor(best / data.map.perRow) * height * scale}px`,
      });
      content.push(tile);
    }
    const about = [data.classes[path.dataset.class], path.classList[0], path.classList.contains("wrong") ? "a mistake" : "",
      path.classList.contains("suspected") ? "label probably wrong" : ""].filter(Boolean).join(", ");
    content.push(element("div", data.map.names[best]), element("div", about));
    showTip(content, event.clientX, event.clientY);
  });
  mapSvg.addEventListener("pointerleave", hideTip);
}
