import { item, keepOpen } from "./socket.js";

const board = document.getElementById("board");

keepOpen(board.dataset.url, (note) => {
  board.querySelector(".none")?.remove();
  const row = item(note.title, note.url);
  const author = document.createElement("small");
  author.textContent = note.author;
  row.append(" ", author);
  board.prepend(row);
});
