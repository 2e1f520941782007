// Follows the newest line until the reader scrolls up; a button leads back down.

const NEAR = 48; // px from the end that still count as being there

export class Scroll {
  /** box: the scrolling element. button: shown while the reader is elsewhere. */
  constructor(box, button) {
    this.box = box;
    this.button = button;
    this.following = true;
    box.addEventListener("scroll", () => this.#look(), { passive: true });
    button.addEventListener("click", () => this.toNewest());
    // Also when a font arrives or the window turns, not only when text does.
    this.grown = new ResizeObserver(() => this.following && this.#down());
    this.watch();
    this.#down();
  }

  /** Again after a child was exchanged. */
  watch() {
    this.grown.disconnect();
    for (const element of [this.box, ...this.box.children]) this.grown.observe(element);
  }

  toNewest() {
    this.following = true;
    this.#down();
    this.#look();
  }

  /** Stay where the reader is, whatever comes. */
  stay() {
    this.#look();
  }

  /** Bring an element into view, and stay there. */
  show(element) {
    this.following = false;
    element.scrollIntoView({ block: "center" });
    this.#look();
  }

  #down() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    this.following = scrollHeight - clientHeight - scrollTop < NEAR;
    this.button.hidden = this.following;
  }
}
