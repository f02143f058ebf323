import {
  createPublicKey,
  generateKeyPair,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
  sign,
  verify
} from "node:crypto"
import { promisify } from "node:util"

// JSON Web Tokens (RFC 7519) with RS256 and ES256 (RFC 7518), on Node's crypto. Only what is on the list of algorithms is
// verified, each with a key of its own type: a token cannot choose how it is checked.

/** The algorithms that are signed and verified. */
export type Algorithm = "ES256" | "RS256"

export interface SigningKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly key: KeyObject
  /** The public part, as it stands in a key set. */
  readonly jwk: JsonWebKey & { readonly kid: string }
}

const types: Readonly<Record<Algorithm, string>> = { ES256: "ec", RS256: "rsa" }
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
const options = (key: KeyObject) => ({ key, dsaEncoding: "ieee-p1363" }) as const

export const generate = async (algorithm: Algorithm): Promise<SigningKey> => {
  const make = promisify(generateKeyPair)
  const { privateKey, publicKey } =
    algorithm === "ES256"
      ? await promisify(generateKeyPair)("ec", { namedCurve: "P-256" })
      : await (make as typeof generateKeyPair.__promisify__)("rsa", { modulusLength: 2048 })
  const kid = randomUUID()
  const jwk = { ...publicKey.export({ format: "jwk" }), kid, alg: algorithm, use: "sig" }
  return { kid, algorithm, key: privateKey, jwk }
}

export const encode = ({ algorithm, key, kid }: SigningKey, claims: object): string => {
  const text = `${encoded({ alg: algorithm, typ: "at+jwt", kid })}.${encoded(claims)}`
  return `${text}.${sign("sha256", Buffer.from(text), options(key)).toString("base64url")}`
}

/** Keys of a key set are used for many tokens, and parsing one takes half as long as a signature. */
const parsed = new WeakMap<JsonWebKey, KeyObject>()
const publicKeyOf = (jwk: JsonWebKey): KeyObject => {
  const known = parsed.get(jwk)
  if (known !== undefined) return known
  const key = createPublicKey({ key: jwk, format: "jwk" })
  parsed.set(jwk, key)
  return key
}

export interface Decoded {
  readonly kid: string | undefined
  readonly algorithm: Algorithm
  readonly claims: Readonly<Record<string, unknown>>
  /** Whether the signature is of this key. */
  readonly isSignedBy: (jwk: JsonWebKey) => boolean
}

/** The claims of a token, not verified yet; undefined if the text is not a JWT, or its algorithm is another. */
export const decode = (token: string): Decoded | undefined => {
  const [header, payload, signature, ...more] = token.split(".")
  if (signature === undefined || more.length > 0 || token.length > 16_384) return undefined
  try {
    const { alg, kid } = JSON.parse(Buffer.from(header!, "base64url").toString()) as Record<string, unknown>
    const claims: unknown = JSON.parse(Buffer.from(payload!, "base64url").toString())
    if (typeof claims !== "object" || claims === null || !Object.hasOwn(types, String(alg))) return undefined
    const algorithm = alg as Algorithm
    return {
      kid: typeof kid === "string" ? kid : undefined,
      algorithm,
      claims: claims as Record<string, unknown>,
      isSignedBy: (jwk) => {
        try {
          const key = publicKeyOf(jwk)
          return (
            key.asymmetricKeyType === types[algorithm] &&
            verify(
              "sha256",
              Buffer.from(`${header}.${payload}`),
              options(key),
              Buffer.from(signature, "base64url")
            )
          )
        } catch {
          return false
        }
      }
    }
  } catch {
    return undefined
  }
}
