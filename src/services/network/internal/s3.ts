import { createHash } from "node:crypto"
import type * as S3 from "s3mini"

// Objects over the S3 protocol, by s3mini. One client for each call: s3mini takes the signal that aborts a request only with
// the `fetch` of its client.

export interface Access {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export const client = (library: typeof S3, access: Access, signal?: AbortSignal): S3.S3mini =>
  new library.S3mini({
    ...access,
    fetch: (input, init) => {
      // fetch sets the length itself, and a second one makes the header invalid.
      const headers = new Headers(init?.headers)
      headers.delete("content-length")
      return fetch(input, { ...init, headers, signal: signal ?? null })
    }
  })

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const checksum = "x-amz-meta-sha256"

/** Stores an object whose bytes are all here, with their checksum beside it. */
export const put = async (s3: S3.S3mini, key: string, bytes: Uint8Array): Promise<void> => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  await s3.putObject(key, buffer, "application/octet-stream", undefined, { [checksum]: sha256(bytes) })
}

/** The answer with an object; undefined if there is none. */
export const get = async (s3: S3.S3mini, key: string): Promise<Response | undefined> => {
  try {
    const response = await s3.getObjectRaw(key)
    if (response.status === 200) return response
    throw new Error(`status ${response.status}`)
  } catch (error) {
    const { serviceCode, status } = error as { serviceCode?: string; status?: number }
    if (status === 404 && serviceCode !== "NoSuchBucket") return undefined
    throw error
  }
}

/** The checksum that was stored beside an object. */
export const checksumOf = (response: Response): string | undefined =>
  response.headers.get(checksum) ?? undefined
