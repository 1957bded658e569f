// A WebSocket that connects again, later each time, with some jitter.
const FIRST = 500;
const LAST = 15000;

export function keepOpen(url, onMessage) {
  const status = document.getElementById("connection");
  let delay = FIRST;
  let socket = null;

  function connect() {
    socket = new WebSocket(url);
    socket.addEventListener("open", () => {
      delay = FIRST;
      status.textContent = "Connected.";
    });
    socket.addEventListener("message", (event) => onMessage(JSON.parse(event.data)));
    socket.addEventListener("close", () => {
      status.textContent = "Lost; connecting again …";
      setTimeout(connect, delay * (0.5 + Math.random()));
      delay = Math.min(delay * 2, LAST);
    });
  }

  connect();
  return {
    send(content) {
      if (socket.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(content));
      return true;
    },
  };
}

export function item(text, href) {
  const element = document.createElement("li");
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    element.append(link);
  } else {
    element.textContent = text;
  }
  return element;
}
