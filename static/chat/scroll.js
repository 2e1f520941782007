// Follows the newest line until the reader scrolls up; a button leads back down.

const NEAR = 48; // px from the end that still count as being there

export class Scroll {
  /** box: the scrolling element. button: shown while the reader is elsewhere. */
  constructor(box, button) {
    this.box = box;
    this.button = button;
    this.following = true;
    this.top = 0;
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
    this.following = this.#isNear();
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
    this.top = this.box.scrollTop;
  }

  #isNear() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    return scrollHeight - clientHeight - scrollTop < NEAR;
  }

  // Who moves up leaves. Far from the end alone says nothing: the browser tells of our own scrolling
  // a moment later, and text may have come in between.
  #look() {
    const { scrollTop } = this.box;
    if (this.#isNear()) this.following = true;
    else if (scrollTop < this.top) this.following = false;
    this.top = scrollTop;
    this.button.hidden = this.following;
  }
}
