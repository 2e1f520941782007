// A session that is kept nowhere: chosen before the first message, and said as long as it lasts.

const root = document.documentElement;

export class Temporary {
  /** changed(on): called when a person switches it. */
  constructor(changed) {
    this.button = document.getElementById("temporary");
    this.note = document.getElementById("temporary-note");
    this.on = false;
    this.button?.addEventListener("click", () => {
      this.#set(!this.on);
      changed(this.on);
    });
  }

  /** The first message is on its way: from now on it is what it is. */
  begin() {
    this.button?.remove();
    this.button = null;
  }

  #set(on) {
    this.on = on;
    if (on) root.dataset.temporary = "";
    else delete root.dataset.temporary;
    this.button.setAttribute("aria-pressed", String(on));
    this.note.hidden = !on;
  }
}
