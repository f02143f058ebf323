import { describe, expect, it } from "vitest"
import { makeProxyOf, readProxies } from "../../../../src/services/download/internal/proxies.js"

const through = (except: string, ...urls: ReadonlyArray<string>) => {
  const proxyOf = makeProxyOf({ http: "http://p", https: "http://s", except })
  return urls.filter((url) => proxyOf(new URL(url)) !== "")
}

describe("proxies", () => {
  it.each([
    ["*", "http://a.example/"],
    ["a.example", "http://a.example/", "https://b.a.example:444/", "http://A.example./"],
    [".a.example", "http://a.example/", "http://b.a.example/"],
    ["*.a.example", "http://b.a.example/"],
    ["x, a.example:8080", "http://a.example:8080/"],
    ["a.example:443", "https://a.example/"],
    ["10.0.0.0/8 192.168.1.1", "http://10.1.2.3/", "http://192.168.1.1:81/"],
    ["fd00::/8,::1", "http://[fd12::1]/", "http://[::1]:8080/"],
    ["[::1]:80", "http://[::1]/"]
  ])("NO_PROXY=%s goes directly to %s", (except, ...urls) => {
    expect(through(except, ...urls)).toEqual([])
  })

  it.each([
    ["", "http://a.example/"],
    ["a.example", "http://ba.example/", "http://a.example.org/"],
    ["a.example:8080", "http://a.example/"],
    ["[::1]:80", "http://[::1]:81/"],
    ["10.0.0.0/8", "http://11.0.0.1/", "http://10.example/", "http://[::1]/"],
    ["1.2.3.4", "http://1.2.3.40/", "http://11.2.3.4/"],
    ["3.4", "http://1.2.3.4/"],
    ["10.0.0.0/99,nonsense/8,:80,.", "http://a.example/"]
  ])("NO_PROXY=%s leaves to the proxy %s", (except, ...urls) => {
    expect(through(except, ...urls)).toEqual(urls)
  })

  it("ALL_PROXY is for both schemes where they have none; http_proxy is not for https", () => {
    expect(readProxies({ ALL_PROXY: "p:1", HTTPS_PROXY: "http://s" })).toEqual({
      http: "http://p:1",
      https: "http://s",
      except: ""
    })
    const proxyOf = makeProxyOf({ http: "http://p", https: "", except: "" })
    expect(proxyOf(new URL("https://a.example"))).toBe("")
  })

  it.each(["ALL_PROXY", "all_proxy", "http_proxy", "HTTPS_PROXY"])("%s of SOCKS is refused", (variable) => {
    expect(readProxies({ [variable]: "socks5h://me:secret@h:1" })).toEqual({
      variable,
      value: "h:1",
      socks: true
    })
  })

  it("a SOCKS proxy that is for nothing is not refused", () => {
    const env = { ALL_PROXY: "socks5://h", http_proxy: "http://p", https_proxy: "http://p" }
    expect(readProxies(env)).toMatchObject({ http: "http://p" })
  })
})
