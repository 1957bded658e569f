import { keepOpen } from "./socket.js";

const lines = document.getElementById("lines");
const here = document.getElementById("here");
const text = document.getElementById("text");
const names = new Set();

function showNames() {
  here.textContent = [...names].sort().join(", ");
}

function show(line) {
  const row = document.createElement("li");
  const author = document.createElement("b");
  const time = document.createElement("time");
  author.textContent = line.author;
  time.dateTime = line.created;
  time.textContent = new Date(line.created).toLocaleTimeString();
  row.append(author, ` ${line.text} `, time);
  lines.append(row);
  row.scrollIntoView({ block: "nearest" });
}

const socket = keepOpen(document.getElementById("room").dataset.url, (message) => {
  if (message.history) {
    names.clear();
    names.add(message.you);
    lines.replaceChildren();
    message.history.forEach(show);
  }
  if (message.here) names.add(message.here);
  if (message.left) names.delete(message.left);
  if (message.line) show(message.line);
  showNames();
});

document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.send({ text: text.value })) text.value = "";
});
