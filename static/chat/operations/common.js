// What the operators' pages have in common: numbers in the page's language, and questions to the server.

const language = document.documentElement.lang || "en";
const plain = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

export const number = (value) => plain.format(value);

export function bytes(value) {
  const [unit, size] = value >= 1e9 ? ["GB", 1e9] : value >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  return `${plain.format(value / size)} ${unit}`;
}

/** words: a data set with the keys seconds, minutes and hours. */
export function duration(seconds, words) {
  if (seconds < 100) return words.seconds.replace("{n}", plain.format(Math.round(seconds)));
  if (seconds < 6000) return words.minutes.replace("{n}", plain.format(Math.round(seconds / 60)));
  return words.hours.replace("{n}", plain.format(seconds / 3600));
}

/** Throws an Error in the server's own words. */
export async function post(page, address, fields = {}) {
  const body = new URLSearchParams(fields);
  const token = page.querySelector("[name=csrfmiddlewaretoken]").value;
  const answer = await fetch(address, { method: "POST", body, headers: { "X-CSRFToken": token } });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `${answer.status} ${answer.statusText}`);
  return told;
}
