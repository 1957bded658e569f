const box = document.getElementById("live");
const clock = document.getElementById("clock");
const connection = document.getElementById("connection");
const arrivals = document.getElementById("arrivals");

const source = new EventSource(box.dataset.url);

source.addEventListener("open", () => { connection.textContent = "Connected."; });
source.addEventListener("error", () => { connection.textContent = "Lost; the browser connects again …"; });
source.addEventListener("clock", (event) => { clock.textContent = event.data; });
source.addEventListener("note", (event) => {
  const note = JSON.parse(event.data);
  arrivals.querySelector(".none")?.remove();
  const item = document.createElement("li");
  const link = document.createElement("a");
  const author = document.createElement("small");
  link.href = note.url;
  link.textContent = note.title;
  author.textContent = note.author;
  item.append(link, author);
  arrivals.prepend(item);
});
