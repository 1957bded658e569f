const form = document.getElementById("upload");
const meter = document.getElementById("meter");
const progress = document.getElementById("progress");
const percent = document.getElementById("percent");
const result = document.getElementById("result");
const problem = document.getElementById("problem");

function fail(text) {
  problem.textContent = text;
  problem.hidden = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  result.hidden = true;
  problem.hidden = true;
  meter.hidden = false;
  request.upload.addEventListener("progress", (sent) => {
    if (!sent.lengthComputable) return;
    progress.value = (100 * sent.loaded) / sent.total;
    percent.textContent = `${Math.floor(progress.value)} %`;
  });
  request.addEventListener("load", () => {
    if (request.status !== 200) {
      fail(`The file was not taken: the server answered ${request.status}.`);
      return;
    }
    const received = JSON.parse(request.responseText);
    for (const key of ["name", "size", "sha256"]) {
      document.getElementById(`result-${key}`).textContent = received[key];
    }
    result.hidden = false;
  });
  request.addEventListener("error", () => fail("The connection was lost."));
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(new FormData(form));
});
