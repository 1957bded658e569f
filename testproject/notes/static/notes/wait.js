const box = document.getElementById("wait");
const state = document.getElementById("state");
const arrivals = document.getElementById("arrivals");
const write = document.getElementById("write");

function show(note) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  const author = document.createElement("small");
  link.href = note.url;
  link.textContent = note.title;
  author.textContent = note.author;
  item.append(link, author);
  arrivals.prepend(item);
}

async function poll() {
  let after = Number(box.dataset.after);
  for (let asked = 1; ; asked += 1) {
    state.textContent = `Waiting for a note after number ${after} (question ${asked}) …`;
    try {
      const response = await fetch(`${box.dataset.url}?after=${after}`);
      if (!response.ok) throw new Error(`The server answered ${response.status}.`);
      for (const note of (await response.json()).notes) {
        show(note);
        after = note.id;
      }
    } catch (problem) {
      state.textContent = `${problem.message} Trying again in three seconds.`;
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

write?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch(write.action, { method: "POST", body: new FormData(write) });
  if (response.ok) write.reset();
  else alert(`The note was not written: the server answered ${response.status}.`);
});

poll();
