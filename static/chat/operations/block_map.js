// How the blocks of a cache stand, side by side: a cell for each, or for every so many.

const COLUMNS = 64;
const STATES = ["free", "remembered", "used", "shared"]; // see KVCache.block_map

/** svg: with a path for each state, by its class. told: a digit for each cell. */
export function drawMap(svg, told) {
  const lines = Math.max(1, Math.ceil(told.length / COLUMNS));
  svg.setAttribute("viewBox", `0 0 ${COLUMNS} ${lines}`);
  STATES.forEach((name, state) => {
    const cells = [...told].flatMap((digit, at) => (Number(digit) === state ? [cell(at)] : []));
    svg.querySelector(`.${name}`).setAttribute("d", cells.join(""));
  });
}

function cell(at) {
  return `M${at % COLUMNS} ${Math.floor(at / COLUMNS)}h.85v.8h-.85z`;
}
