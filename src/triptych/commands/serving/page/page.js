"use strict";
// Text from outside is only ever shown as text. One photo is sent at a time, so that each answer is shown at once.

const find = (selector, within = document) => within.querySelector(selector);
const percent = share => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
// What an answer means that is no class, and that the server gives with --error-at-most.
const reasons = {
  "not sure": "No class is probable enough to keep the promised error rate.",
  "foreign": "The photo is unlike the images that the model was trained on.",
};
const waiting = [];
let sending = false, answered = 0, failed = 0;

function nameModel(answer) {
  find("#model").textContent = `${answer.model}, version ${answer.version}`;
  document.title = `Classify photos: ${answer.model}`;
}

function showCount() {
  const wrong = failed ? `, ${failed} could not be answered` : "";
  find("#status").textContent = `${answered} of ${answered + failed + waiting.length} answered${wrong}`;
}

function addCard(file) {
  const card = find("#photo").content.cloneNode(true).firstElementChild;
  const image = find("img", card), source = URL.createObjectURL(file);
  find("h2", card).textContent = file.name;
  image.onload = () => URL.revokeObjectURL(source);
  image.onerror = () => { URL.revokeObjectURL(source); image.remove(); };
  image.src = source;
  find("#answers").prepend(card);
  return card;
}

function showClasses(card, prediction, version) {
  const [best] = prediction.classes;
  find(".answer", card).textContent = prediction.answer ?? best.class;
  if (prediction.answer && prediction.answer !== best.class) {
    const why = find(".why", card);
    why.textContent = reasons[prediction.answer];
    why.hidden = false;
  }
  for (const guess of prediction.classes) {
    const row = find("tbody", card).insertRow(), name = document.createElement("th");
    name.scope = "row";
    name.textContent = guess.class;
    name.style.setProperty("--share", guess.probability);
    row.append(name);
    row.insertCell().textContent = percent(guess.probability);
  }
  find("table", card).hidden = false;
  find(".note", card).textContent = `version ${version}`;
}

function showError(card, text) {
  const answer = find(".answer", card);
  answer.classList.add("error");
  answer.textContent = text;
}

async function classify(file, card) {
  const body = new FormData();
  body.append("image", file);
  const response = await fetch("predict", { method: "POST", body });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? "the server failed: its terminal says why");
  nameModel(answer);
  showClasses(card, answer.predictions[0], answer.version);
}

async function add(files) {
  for (const file of files) waiting.push([file, addCard(file)]);
  showCount();
  if (sending) return;
  sending = true;
  while (waiting.length) {
    const [file, card] = waiting[0];
    try {
      await classify(file, card);
      answered += 1;
    } catch (error) {
      showError(card, error instanceof TypeError ? "the server does not answer: is it still running?" : error.message);
      failed += 1;
    }
    waiting.shift();
    showCount();
  }
  sending = false;
}

find("#photos").addEventListener("change", event => {
  add([...event.target.files]);
  event.target.value = "";  // so that the same file can be chosen again
});
addEventListener("paste", event => add([...event.clipboardData.files]));
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  add([...event.dataTransfer.files]);
});
fetch("health").then(response => response.json()).then(nameModel).catch(() => {
  find("#model").textContent = "The server does not answer.";
});
