// Runs before the first paint, so that a stored choice of colours or layout does not flash.
// A classic script: modules wait for the whole page.
(() => {
  const root = document.documentElement;
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (localStorage.getItem("sidebar") === "closed") root.dataset.sidebar = "closed";
  } catch {
    // Storage may be forbidden; the defaults are fine.
  }
})();
