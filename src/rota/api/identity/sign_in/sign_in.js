// Signs in by the code behind `#` in a one-time link. The code is taken out of the address first, so
// that it stays in no history, and goes into the body of one request.
"use strict";

const said = document.getElementById("said");
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

async function oidcIsThere() {
  const answer = await fetch("/sign-in/ways");
  return answer.ok && (await answer.json()).oidc === true;
}

async function signIn() {
  const answer = await fetch("/api/v1/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
  });
  const told = await answer.json();
  said.textContent = answer.ok
    ? `You are signed in as ${told.email || told.user_id}.`
    : told.detail;
}

async function whoIsThere() {
  const answer = await fetch("/api/v1/session");
  if (answer.ok) {
    const told = await answer.json();
    said.textContent = `You are signed in as ${told.email || told.user_id}.`;
    return;
  }
  const hasOidc = await oidcIsThere();
  document.getElementById("oidc").hidden = !hasOidc;
  said.textContent = hasOidc
    ? "You are not signed in."
    : "You are not signed in. Open the link that `rota up` or `rota sign-in` prints.";
}

(code ? signIn() : whoIsThere()).catch(() => {
  said.textContent = "rota does not answer. Load this page again.";
});
