// The one page that shows a token: copied with a button, or selected whole by a click.

const token = document.getElementById("token");
const button = document.getElementById("copy-token");

function select() {
  getSelection().selectAllChildren(token);
}

token.addEventListener("click", select);
button.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(token.textContent);
    button.textContent = button.dataset.copied;
  } catch {
    select(); // the clipboard may be forbidden; then Ctrl+C is left
  }
});
