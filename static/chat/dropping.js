// Files that are dragged onto the page or pasted into the box, and pasted text that is too long for it.

/** box: where they may be dropped. sign: shown meanwhile. */
export function listenForFiles(box, sign, area, attachments) {
  let depth = 0; // each element that is crossed is entered before the last one is left
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (by) => {
    depth = by ? Math.max(0, depth + by) : 0;
    sign.hidden = !depth;
  };
  box.addEventListener("dragenter", (event) => hasFiles(event) && attachments.usable && show(1));
  box.addEventListener("dragleave", (event) => hasFiles(event) && attachments.usable && show(-1));
  box.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // the browser would leave the page for the file
    event.dataTransfer.dropEffect = attachments.usable ? "copy" : "none";
  });
  box.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(0);
    if (!attachments.usable) return;
    attachments.add(event.dataTransfer.files);
    area.focus();
  });
  area.addEventListener("paste", (event) => {
    if (!attachments.usable) return;
    const { files } = event.clipboardData;
    const text = event.clipboardData.getData("text/plain");
    // A spreadsheet offers its cells as a picture too: the text is what was meant.
    if (files.length && !text) attachments.add(files);
    else if (text.length > attachments.limits.paste) attachments.addPasted(text);
    else return;
    event.preventDefault();
  });
}
