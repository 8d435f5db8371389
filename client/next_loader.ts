/**
 * A loader of next/image: the browser asks Copperplate itself, and Next.js neither fetches nor encodes the picture again.
 *
 *     // next.config.ts
 *     images: { loader: "custom", loaderFile: "./client/next_loader.ts" }
 *
 * `src` is an address as `pictureUrl` answers it, or `/api/images/{id}`; other pictures of the page keep theirs. An address
 * is known by its form, whatever its host. Next.js asks for more widths and qualities than there are renditions: they are
 * taken up to the next rung, so that browsers store few.
 */
import { DEFAULT_QUALITY, qualityRung, widthRung } from "./picture_url";

export interface LoaderProps {
  readonly src: string;
  readonly width: number;
  readonly quality?: number | undefined;
}

const PICTURE = /^(?:https?:\/\/[^/?#]+)?\/(?:([1-9][0-9]{1,3})x[1-9][0-9]{1,3}\.[a-z]+|api\/images\/[^?#]+)(?=[?#]|$)/;
// Every picture has one. /1200x800.jpg of another host has none.
const TEXT = /^(?:text|prompt)=/;
const CHOSEN: readonly string[] = ["w", "h", "fit", "thumb", "q"];

/** The address of the rendition of this width; what `src` says of size is replaced, its quality kept. */
export default function copperplateLoader({ src, width, quality }: LoaderProps): string {
  const found = PICTURE.exec(src);
  if (found === null) return src;
  const [whole = "", ...fragments] = src.split("#");
  const [address = "", ...queries] = whole.split("?");
  const given = queries
    .join("?")
    .split("&")
    .filter((part) => part !== "");
  if (found[1] !== undefined && !given.some((part) => TEXT.test(part))) return src;
  const kept = given.filter((part) => !CHOSEN.includes(part.split("=", 1)[0] ?? ""));
  const canvas = found[1] === undefined ? Number.POSITIVE_INFINITY : Number(found[1]);
  const chosen = [`w=${Math.min(widthRung(width), canvas)}`, ...qualityOf(given, quality)];
  return [`${address}?${[...kept, ...chosen].join("&")}`, ...fragments].join("#");
}

function qualityOf(given: readonly string[], quality: number | undefined): string[] {
  if (quality === undefined) return given.filter((part) => part.startsWith("q="));
  const rung = qualityRung(quality);
  return rung === DEFAULT_QUALITY ? [] : [`q=${rung}`];
}
