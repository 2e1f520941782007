// What a person may begin with: an example goes into the composer, to be changed or sent.

export function listenForExamples(box, composer) {
  box.addEventListener("click", (event) => {
    if (!event.target.matches(".examples button")) return;
    composer.text = event.target.textContent;
    composer.area.focus();
  });
}
