// An OpenID issuer: client credentials, introspection, and access tokens that are JWTs for one resource. Prints its settings.
import { createServer } from "node:http"
import Provider from "oidc-provider"

const server = createServer()
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const issuer = `http://127.0.0.1:${server.address().port}`
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "aio",
      client_secret: "client-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: []
    }
  ],
  scopes: ["read", "write"],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: () => ({
        scope: "read write",
        audience: "urn:aio",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } }
      })
    }
  }
})
server.on("request", provider.callback())
console.log(
  JSON.stringify({
    OAUTH_ISSUER: issuer,
    OAUTH_CLIENT_ID: "aio",
    OAUTH_CLIENT_SECRET: "client-secret",
    OAUTH_SCOPE: "read write"
  })
)
