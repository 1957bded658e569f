async function fill(half) {
  half.textContent = "…";
  const response = await fetch(half.dataset.url);
  if (response.ok) half.innerHTML = await response.text();
  else half.textContent = `The server answered ${response.status}.`;
}

function fillAll() {
  document.querySelectorAll(".half").forEach(fill);
}

document.getElementById("again").addEventListener("click", fillAll);
fillAll();
