// Which script a text is written in, to say gently when a model was not trained on it.

// Kana before Han: Japanese has both. A script that several languages share names them all.
const SCRIPTS = [
  [/[\p{Script=Hiragana}\p{Script=Katakana}]/gu, ["ja"]],
  [/\p{Script=Hangul}/gu, ["ko"]],
  [/\p{Script=Han}/gu, ["zh", "ja"]],
  [/\p{Script=Cyrillic}/gu, ["ru", "uk", "bg", "sr"]],
  [/\p{Script=Arabic}/gu, ["ar", "fa", "ur"]],
  [/\p{Script=Hebrew}/gu, ["he"]],
  [/\p{Script=Devanagari}/gu, ["hi", "mr", "ne"]],
  [/\p{Script=Thai}/gu, ["th"]],
  [/\p{Script=Greek}/gu, ["el"]],
];
const ENOUGH = 2; // letters; one alone may be a symbol or a name

/** The language that `text` is most likely in and a model of `languages` does not know, or "". */
export function unknownLanguage(text, languages) {
  const known = new Set(languages.map((code) => code.split("-")[0]));
  if (known.size === 0) return "";
  for (const [letters, spoken] of SCRIPTS) {
    const count = text.match(letters)?.length ?? 0;
    if (count >= ENOUGH && !spoken.some((code) => known.has(code))) return spoken[0];
  }
  return "";
}
