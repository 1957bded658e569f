import { item, keepOpen } from "./socket.js";

const found = document.getElementById("found");
const field = document.getElementById("q");

const socket = keepOpen(document.getElementById("search").dataset.url, (answer) => {
  // An answer to what is no longer typed comes too late.
  if (answer.q !== field.value.trim()) return;
  found.replaceChildren(...answer.notes.map((note) => item(note.title, note.url)));
});

field.addEventListener("input", () => socket.send({ q: field.value }));
document.getElementById("search").addEventListener("submit", (event) => event.preventDefault());
