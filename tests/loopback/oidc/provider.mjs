// An OpenID Connect provider that others wrote, on loopback. Its argument is JSON: the redirect URIs
// of its clients. Anybody signs in by typing a subject; `verified-` before it has its address verified.
// It prints its address in one line.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [module, redirects] = [process.argv[2], JSON.parse(process.argv[3])];
const { Provider } = await import(pathToFileURL(module));

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = {
    redirect_uris: redirects,
    grant_types: ["authorization_code"],
    response_types: ["code"],
  };
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: "rota", client_secret: "s3cret: with/odd+signs%" },
      { ...client, client_id: "rota-public", token_endpoint_auth_method: "none" },
      {
        ...client,
        client_id: "rota-post",
        client_secret: "s3cret",
        token_endpoint_auth_method: "client_secret_post",
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "RS256" }] },
    claims: { openid: ["sub"], email: ["email", "email_verified"] },
    pkce: { required: () => true },
    cookies: { keys: ["of a test"] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: async () => ({
        sub,
        email: `${sub.replace(/^(un)?verified-/, "")}@example.com`,
        email_verified: sub.startsWith("verified-"),
      }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
