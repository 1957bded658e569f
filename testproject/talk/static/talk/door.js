const door = document.getElementById("door");
const seen = document.getElementById("seen");

door.addEventListener("click", (event) => {
  const how = event.target.dataset.how;
  if (!how) return;
  const socket = new WebSocket(`${door.dataset.url}?how=${how}`);
  socket.addEventListener("close", ({ code, reason }) => {
    seen.textContent = `Close code ${code}${reason ? `: ${reason}` : ", without a reason."}`;
  });
});
