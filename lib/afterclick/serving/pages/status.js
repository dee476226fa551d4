// Newer figures every five seconds, unless paused or out of sight. The page reads without this too.
const place = document.getElementById("figures");
const pause = document.getElementById("pause");
pause.hidden = false;
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
});
setInterval(async () => {
  const hasFocus = place.contains(document.activeElement);
  if (pause.getAttribute("aria-pressed") === "true" || document.hidden || hasFocus) return;
  try {
    const answer = await fetch("/status/figures");
    if (answer.ok) place.innerHTML = await answer.text();
  } catch { /* the API is away: the last figures stay */ }
}, 5000);
