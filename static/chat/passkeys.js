// Forms that are answered by a passkey: data-passkey says whether one is made ("create"), shown for
// an account that is known ("get"), or asked who it belongs to ("sign-in").

const trouble = document.getElementById("passkey-trouble");

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** The server's options with the bytes that browsers want in place of text. */
function withBytes(options) {
  const made = { ...options, challenge: bytes(options.challenge) };
  if (made.user) made.user = { ...made.user, id: bytes(made.user.id) };
  for (const list of ["excludeCredentials", "allowCredentials"]) {
    made[list] = options[list]?.map((key) => ({ ...key, id: bytes(key.id) }));
  }
  return made;
}

/** What the authenticator said, as JSON. */
function asJson(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  const extensions = credential.getClientExtensionResults();
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: extensions.credProps ? { credProps: extensions.credProps } : {},
  });
}

async function optionsFor(form) {
  if (form.dataset.passkey !== "sign-in") {
    const given = JSON.parse(document.getElementById("passkey-options").textContent);
    return (given.creation_options ?? given.request_options).publicKey;
  }
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return (await answer.json()).request_options.publicKey;
}

async function ask(form) {
  const publicKey = withBytes(await optionsFor(form));
  if (form.dataset.passkey !== "create") return navigator.credentials.get({ publicKey });
  // One that signs in alone has to know whose it is, and to make sure of the person.
  const selection = { residentKey: "required", requireResidentKey: true, userVerification: "required" };
  publicKey.authenticatorSelection = { ...publicKey.authenticatorSelection, ...selection };
  return navigator.credentials.create({ publicKey });
}

for (const form of document.querySelectorAll("[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble.hidden = true;
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      form.elements.credential.value = asJson(await ask(form));
      form.submit();
    } catch {
      trouble.textContent = window.PublicKeyCredential ? trouble.dataset.failed : trouble.dataset.missing;
      trouble.hidden = false;
      button.disabled = false;
    }
  });
}
