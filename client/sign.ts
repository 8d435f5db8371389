/**
 * Signed URLs of Copperplate's pictures: whoever holds one may have that picture made until it expires.
 *
 * SERVER SIDE ONLY: a secret that a page can read signs for everybody. Runs in Node 20 and later, Deno and edge
 * functions by Web Crypto, without dependencies:
 *
 *     const [key] = parseSigningKeys(process.env.COPPERPLATE_URL_SIGNING_KEYS ?? "");
 *     const url = await signUrl("https://pictures.example.com/512x512.jpg?text=a%20red%20fox", key);
 *
 * What is signed is the key of the generation, so every spelling, format and size of one picture has one signature, and
 * so has its placeholder: `w`, `h`, `fit`, `q`, `thumb`, `placeholder` and `only-if-cached` are outside of it. Sign one
 * address, and give `sign()`'s answer to the others as `access` of picture_url.ts. It depends on the model: where the
 * deployment's default is not `fal-ai/flux/schnell`, say so in the options.
 */

/** The id and the secret of a key in `COPPERPLATE_URL_SIGNING_KEYS`. */
export interface SigningKey {
  readonly id: string;
  readonly secret: string;
}

/** The models of a deployment. */
export interface Models {
  /** What an address without `model` asks for; `fal-ai/flux/schnell` unless given. */
  readonly defaultModel?: string;
  /** Fixed parameters by model, as `name=value`; `copperplate explain` shows them as settings. None for other models. */
  readonly settings?: Readonly<Record<string, readonly string[]>>;
}

export interface SignOptions extends Models {
  /** Until when the picture may be made, rounded up to the full hour; 30 days from now unless given. */
  readonly expiresAt?: Date;
}

/** An address or a key that cannot be signed with. The message repeats neither the text nor the secret. */
export class NotSignable extends Error {
  override readonly name = "NotSignable";
}

interface Picture {
  /** The address up to its query, the query without a signature, and the fragment with its `#`. */
  readonly address: string;
  readonly query: string;
  readonly fragment: string;
  /** What is paid for, in canonical JSON. */
  readonly recipe: string;
}

const DEFAULT_MODEL = "fal-ai/flux/schnell";
const STANDARD_SETTINGS: Readonly<Record<string, readonly string[]>> = {
  [DEFAULT_MODEL]: ["enable_safety_checker=true", "num_inference_steps=4"],
};
const LIFETIME_MS = 30 * 24 * 3_600_000;
const HOUR_SECONDS = 3_600;
const [MIN_SIDE_PX, MAX_SIDE_PX, MAX_TEXT, MAX_SEED] = [64, 2_048, 1_000, 2n ** 64n - 1n];
const [MAX_QUERY_BYTES, MAX_PARAMETERS] = [16_384, 100];
const SIGNATURE_NAMES: readonly string[] = ["kid", "exp", "sig"];
const DISPLAY_NAMES: readonly string[] = ["w", "h", "fit", "q", "thumb"];
const PLACEHOLDER_NAME = "placeholder";
const CACHED_NAME = "only-if-cached";
const RECIPE_NAMES: readonly string[] = ["text", "prompt", "model", "seed"];
const KNOWN_NAMES: readonly string[] = [
  ...RECIPE_NAMES,
  ...SIGNATURE_NAMES,
  ...DISPLAY_NAMES,
  PLACEHOLDER_NAME,
  CACHED_NAME,
];

const ORIGIN = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/;
const PATH = /^\/([1-9][0-9]{1,3})x([1-9][0-9]{1,3})\.(?:jpg|jpeg|png|webp|avif|auto)$/;
const NOT_IN_A_QUERY = /[^A-Za-z0-9!$&'()*+,;=:@/?._~%-]+/gu;
// Not `\s`: which characters are white space must not depend on who runs this.
const WHITE_SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;
const NOT_TEXT = /[\0-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]/;

/** The address with `kid`, `exp` and `sig`; a signature that it has is replaced. Throws `NotSignable`. */
export async function signUrl(url: string, key: SigningKey | undefined, options: SignOptions = {}): Promise<string> {
  const picture = parse(url, options);
  const signature = await sign(await sha256Hex(picture.recipe), key, options.expiresAt);
  const query = `${picture.query}&${signature}`;
  readQuery(query); // its limits hold with the signature too
  return `${picture.address}?${query}${picture.fragment}`;
}

/** The key of what an address asks for, which is what is signed. Throws `NotSignable`. */
export async function generationKey(url: string, models: Models = {}): Promise<string> {
  return sha256Hex(parse(url, models).recipe);
}

/** The signature of one generation, to append to any address of it: `kid=…&exp=…&sig=…`. Throws `NotSignable`. */
export async function sign(generation: string, key: SigningKey | undefined, expiresAt?: Date): Promise<string> {
  const { id, secret } = checked(key);
  const until = expiresAt?.getTime() ?? Date.now() + LIFETIME_MS;
  const expires = Math.ceil(until / 1_000 / HOUR_SECONDS) * HOUR_SECONDS;
  if (!(expires > 0 && expires < 1e12)) throw new NotSignable("A signature expires after 1970.");
  const utf8 = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", utf8.encode(secret), algorithm, false, ["sign"]);
  const message = utf8.encode(`copperplate-url-v1\n${id}\n${expires}\n${generation}`);
  return `kid=${id}&exp=${expires}&sig=${base64url(await crypto.subtle.sign("HMAC", imported, message))}`;
}

/** The keys in the format of `COPPERPLATE_URL_SIGNING_KEYS`: `id:secret,id:secret`. The first signs. Throws `NotSignable`. */
export function parseSigningKeys(setting: string): SigningKey[] {
  return setting.split(",").map((pair) => {
    const [id = "", ...rest] = pair.trim().split(":");
    return checked({ id, secret: rest.join(":") });
  });
}

function checked(key: SigningKey | undefined): SigningKey {
  if ("document" in globalThis) throw new NotSignable("Sign on a server: a page would show the secret.");
  if (key === undefined || !/^[a-z0-9-]{1,16}$/.test(key.id) || !/^[!-+\--~]{32,1000}$/.test(key.secret)) {
    throw new NotSignable("A key is an id of 1 to 16 of a-z, 0-9 and -, and a secret of 32 to 1000 ASCII characters.");
  }
  return key;
}

function parse(url: string, models: Models): Picture {
  const [whole = "", ...fragments] = url.split("#");
  const [address = "", ...queries] = whole.split("?");
  const query = encoded(queries.join("?"))
    .split("&")
    .filter((part) => part !== "" && !SIGNATURE_NAMES.includes(nameOf(part)))
    .join("&");
  const fragment = fragments.join("#");
  const [width, height] = sizeOf(decoded(address.replace(ORIGIN, ""), { isFatal: false }));
  return { address, query, fragment: fragment && `#${fragment}`, recipe: recipeOf(width, height, query, models) };
}

function recipeOf(width: number, height: number, query: string, models: Models): string {
  const given = readQuery(query);
  checkDisplay(given);
  const model = given.get("model") || (models.defaultModel ?? DEFAULT_MODEL);
  if (!/^[!-~]{1,200}$/.test(model)) throw new NotSignable("A model's name has 1 to 200 ASCII characters, no spaces.");
  const settings = models.settings ?? STANDARD_SETTINGS;
  // Canonical: members by code point, no white space. JSON.stringify escapes what Python and PostgreSQL escape.
  return JSON.stringify({
    height,
    kind: "image",
    model,
    prompt: textOf(given),
    seed: seedOf(given.get("seed") ?? ""),
    settings: settingsOf((Object.hasOwn(settings, model) && settings[model]) || []),
    v: 1,
    width,
  });
}

function sizeOf(path: string): readonly [number, number] {
  const found = PATH.exec(path);
  const sides = [Number(found?.[1]), Number(found?.[2])] as const;
  if (!sides.every((side) => side >= MIN_SIDE_PX && side <= MAX_SIDE_PX)) {
    throw new NotSignable("This is not a picture's address. Those read /1024x1024.jpg?text=A%20beautiful%20sunset");
  }
  return sides;
}

function textOf(given: ReadonlyMap<string, string>): string {
  const texts = ["text", "prompt"].flatMap((name) => given.get(name) ?? []).map(folded);
  const [text] = texts;
  if (text === undefined) throw new NotSignable("There is no text.");
  if (texts.some((other) => other !== text)) throw new NotSignable("text and prompt say different things.");
  return text;
}

function folded(text: string): string {
  if (NOT_TEXT.test(text)) throw new NotSignable("The text holds a control character.");
  const spelled = text.normalize("NFC").replace(WHITE_SPACE, " ").replace(/^ | $/g, "");
  const length = [...spelled].length;
  if (length < 1 || length > MAX_TEXT)
    throw new NotSignable(`The text has ${length} characters, not 1 to ${MAX_TEXT}.`);
  return spelled;
}

function seedOf(seed: string): string {
  if (seed === "") return seed;
  const digits = /^[0-9]{1,1000}$/.test(seed) ? seed.replace(/^0+(?=.)/, "") : "";
  if (digits === "" || BigInt(digits) > MAX_SEED) throw new NotSignable(`A seed is a whole number up to ${MAX_SEED}.`);
  return digits;
}

/** Display parameters and `placeholder` are outside the signature, but no server answers wrong ones. */
function checkDisplay(given: ReadonlyMap<string, string>): void {
  if (!["", "1"].includes(given.get(PLACEHOLDER_NAME) ?? "")) throw new NotSignable("placeholder has no value.");
  if (given.has(PLACEHOLDER_NAME) && DISPLAY_NAMES.some((name) => given.has(name))) {
    throw new NotSignable("A placeholder has one size and one quality.");
  }
  const isWrong = (name: string) => !/^[1-9][0-9]{0,4}$/.test(given.get(name) ?? "1");
  const [wrong] = ["w", "h", "thumb", "q"].filter(isWrong);
  if (wrong !== undefined) throw new NotSignable(`${wrong} is a whole number in plain digits.`);
  if (Number(given.get("q") ?? 1) > 100) throw new NotSignable("q is at most 100.");
  if (!["cover", "contain"].includes(given.get("fit") ?? "cover")) throw new NotSignable("fit is cover or contain.");
  const [w, h, thumb] = ["w", "h", "thumb"].map((name) => given.has(name));
  if (thumb ? w || h : h && !w) throw new NotSignable("h goes with w, and thumb with neither.");
}

function settingsOf(settings: readonly string[]): string[] {
  const unique = [...new Set(settings)].sort(); // ASCII: code units are code points
  const names = unique.map((setting) => /^([a-z][a-z0-9_]*)=[ -~]*$/.exec(setting)?.[1]);
  if (names.includes(undefined) || new Set(names).size < names.length) {
    throw new NotSignable("Settings are name=value in ASCII, and name nothing twice.");
  }
  return unique;
}

/** The known parameters of an encoded query, decoded like a form. */
function readQuery(query: string): ReadonlyMap<string, string> {
  const parts = query.split("&").filter((part) => part !== "");
  if (query.length > MAX_QUERY_BYTES || parts.length > MAX_PARAMETERS) throw new NotSignable("The query is too long.");
  const values = new Map<string, string>();
  for (const part of parts) {
    const name = nameOf(part);
    if (!KNOWN_NAMES.includes(name)) continue;
    if (values.has(name)) throw new NotSignable(`${name} is given twice.`);
    const at = part.indexOf("=");
    values.set(name, at < 0 ? "" : decoded(part.slice(at + 1).replaceAll("+", " ")));
  }
  return values;
}

function nameOf(part: string): string {
  const [name = ""] = part.split("=", 1);
  return decoded(name.replaceAll("+", " "), { isFatal: false });
}

/** What no URL can hold is percent-encoded, which decodes to the same. */
function encoded(query: string): string {
  try {
    return query.replace(NOT_IN_A_QUERY, encodeURIComponent);
  } catch {
    throw new NotSignable("The address holds half a character (a lone surrogate).");
  }
}

/** Percent-decoded UTF-8; a percent sign without two digits stands for itself. */
function decoded(text: string, { isFatal } = { isFatal: true }): string {
  const raw = new TextEncoder().encode(text);
  const bytes: number[] = [];
  for (let at = 0; at < raw.length; at += 1) {
    const pair = raw[at] === 0x25 ? String.fromCharCode(...raw.subarray(at + 1, at + 3)) : "";
    const isEscape = /^[0-9A-Fa-f]{2}$/.test(pair);
    bytes.push(isEscape ? Number.parseInt(pair, 16) : (raw[at] ?? 0));
    if (isEscape) at += 2;
  }
  try {
    // The byte order mark is a character like any other.
    return new TextDecoder("utf-8", { fatal: isFatal, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    throw new NotSignable("A parameter is not UTF-8.");
  }
}

async function sha256Hex(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64url(bytes: ArrayBuffer): string {
  const base64 = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
