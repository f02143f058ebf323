import * as dns from "node:dns"
import { isIP, type LookupFunction } from "node:net"
import ipaddr from "ipaddr.js"
import { Failure } from "./failure.js"

// Public addresses, for `denyPrivate`: checked after DNS, so that no name can hide a private one.

const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3")

/** IPv6 outside of 2000::/3 is not routed globally, or embeds an IPv4 address. */
const isPublic = (text: string): boolean => {
  const address = ipaddr.process(text)
  return address.range() === "unicast" && (address instanceof ipaddr.IPv4 || address.match(globalUnicast))
}

const privateAddress = (host: string, address: string): Failure =>
  new Failure(
    "private-address",
    host === address
      ? `${address} is not a public address`
      : `${host} is at ${address}, which is not a public address`,
    false
  )

/** Fails if any address of a name is not public. */
export const publicOnly: LookupFunction = (hostname, options, callback) =>
  dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
    const bad = addresses?.find(({ address }) => !isPublic(address))
    if (error !== null) callback(error, "", 0)
    else if (bad !== undefined) callback(privateAddress(hostname, bad.address), "", 0)
    else if (options.all === true) callback(null, addresses)
    else callback(null, addresses[0]!.address, addresses[0]!.family)
  })

/**
 * Throws if the URL's host is an address that is not public; with `resolve` also if its name has one, because a proxy
 * resolves it out of sight.
 */
export const refusePrivate = async (url: URL, resolve: boolean): Promise<void> => {
  const host = url.hostname.replace(/^\[|\]$/g, "")
  if (isIP(host) !== 0) {
    if (!isPublic(host)) throw privateAddress(host, host)
  } else if (resolve) {
    const addresses = await dns.promises.lookup(host, { all: true })
    const bad = addresses.find(({ address }) => !isPublic(address))
    if (bad !== undefined) throw privateAddress(host, bad.address)
  }
}
