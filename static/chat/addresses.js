// Where the pages and their API are: at the root of this site, or below an address of another one.

const root = document.documentElement.dataset.root;

export const home = root;
export const api = (path) => `${root}api/${path}`;
export const sessionPage = (id) => `${root}sessions/${id}/`;
export const promptsPage = `${root}prompts/`;
export const leave = (path) => location.assign(path);
export const socketAddress = () => {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${root}ws/chat/`;
};
