/** URLs of proxies, empty for none, and the hosts without a proxy. */
export interface Proxies {
  readonly http: string
  readonly https: string
  readonly except: string
}

/** A variable with an invalid proxy, and its value without user and password. */
export interface NoProxy {
  readonly variable: string
  readonly value: string
}

type Env = Readonly<Record<string, string | undefined>>

const proxy = (env: Env, ...names: ReadonlyArray<string>): string | NoProxy => {
  const variable = names.find((name) => env[name])
  if (variable === undefined) return ""
  const text = env[variable]!.trim()
  const href = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`
  const value = text.replace(/^.*@/s, "")
  try {
    const { hostname, password, protocol, username } = new URL(href)
    decodeURIComponent(username + password)
    return /^(https?|socks5?):$/.test(protocol) && hostname !== "" ? href : { variable, value }
  } catch {
    return { variable, value }
  }
}

/** Reads the proxies that the environment names; without a scheme one is `http://`. */
export const readProxies = (env: Env): Proxies | NoProxy => {
  const http = proxy(env, "http_proxy", "HTTP_PROXY")
  const https = proxy(env, "https_proxy", "HTTPS_PROXY")
  if (typeof http !== "string") return http
  if (typeof https !== "string") return https
  return { http, https, except: env["no_proxy"] || env["NO_PROXY"] || "" }
}
