// Signs in by the code behind `#` in a one-time link. The code is taken out of the address first, so
// that it stays in no history, and goes into the body of one request.
"use strict";

const said = document.getElementById("said");
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

function signedIn(told) {
  return `You are signed in as ${told.email || told.user_id}. You can close this page.`;
}

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
  said.textContent = answer.ok ? signedIn(told) : told.detail;
}

async function whoIsThere() {
  const answer = await fetch("/api/v1/session");
  if (answer.ok) {
    said.textContent = signedIn(await answer.json());
    return;
  }
  const hasOidc = await oidcIsThere();
  document.getElementById("oidc").hidden = !hasOidc;
  said.textContent = "You are not signed in.";
  if (!hasOidc) {
    const command = document.createElement("code");
    command.textContent = "rota sign-in";
    said.append(" Type ", command, " on rota's machine, and open the link that it prints.");
  }
}

(code ? signIn() : whoIsThere()).catch(() => {
  said.textContent = "rota does not answer. Load this page again.";
});
