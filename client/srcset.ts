/**
 * `srcset` and `<picture>` of one picture: a browser takes the smallest rendition that fills its screen, and all of them
 * cost one generation.
 *
 *     pictureMarkup(fox, { alt: "A red fox", sizes: "(min-width: 60rem) 50vw, 100vw" }); // HTML
 *     const { sources, img } = pictureProps(fox, { alt: "A red fox" }); // for React and Vue
 */
import { pictureUrl, renditionSize, WIDTHS, widthRung } from "./picture_url";
import type { Format, Picture, Size } from "./picture_url";

export interface SrcsetOptions {
  /** `jpg` unless given. */
  readonly format?: Format;
  /** A quality from 1 to 100; 85 unless given. */
  readonly q?: number;
  /** Width to height of what is seen, such as `[16, 9]`: the middle is cut out. The whole canvas unless given. */
  readonly ratio?: readonly [number, number];
  /** Widths in px, each taken up to its rung; all rungs from 256 unless given. None is above the canvas. */
  readonly widths?: readonly number[];
}

export interface PictureOptions extends Omit<SrcsetOptions, "format"> {
  /** What the picture shows, for those who do not see it; "" where it only decorates. */
  readonly alt: string;
  /** How wide the picture is on the page, as CSS; `100vw` unless given. */
  readonly sizes?: string;
  /** The best first; the last is that of `<img>`, which every browser reads. WebP and JPEG unless given. */
  readonly formats?: readonly Format[];
  /** `eager` for what is seen first; `lazy` unless given. */
  readonly loading?: "lazy" | "eager";
  /** `async` unless given. */
  readonly decoding?: "async" | "sync" | "auto";
  /** Seen until the picture is there: its colour, and an address such as `placeholderUrl` answers. */
  readonly background?: Background;
}

export interface Background {
  /** `#rrggbb`, as `X-Copperplate-Placeholder` tells it. */
  readonly color?: string;
  readonly url?: string;
}

export interface SourceProps {
  readonly type: string;
  readonly srcSet: string;
  readonly sizes: string;
}

/** In the order that matters: a browser that meets `src` first fetches it. */
export interface ImgProps {
  readonly alt: string;
  readonly width: number;
  readonly height: number;
  readonly loading: "lazy" | "eager";
  readonly decoding: "async" | "sync" | "auto";
  readonly style?: { readonly background: string };
  readonly sizes: string;
  readonly srcSet: string;
  readonly src: string;
}

interface Candidate {
  readonly url: string;
  readonly size: Size;
}

const LEAST_WIDTH_PX = 256;
const TYPES: Readonly<Record<string, string>> = { jpg: "image/jpeg" };

/** The renditions of a picture as `srcset`: an address and its width in px each, the smallest first. */
export function srcset(picture: Picture, options: SrcsetOptions = {}): string {
  return listed(candidates(picture, options));
}

/** The attributes of a `<picture>`: one `<source>` for each format but the last, which is that of the `<img>`. */
export function pictureProps(picture: Picture, options: PictureOptions): { sources: SourceProps[]; img: ImgProps } {
  const { alt, sizes = "100vw", formats = ["webp", "jpg"], loading = "lazy", decoding = "async" } = options;
  const sets = formats.map((format) => ({ format, found: candidates(picture, { ...options, format }) }));
  const found = sets.pop()?.found ?? candidates(picture, options);
  const largest = found[found.length - 1] as Candidate; // there is always one
  const background = backgroundOf(options.background ?? {});
  const sources = sets.map((each) => ({
    type: TYPES[each.format] ?? `image/${each.format}`,
    srcSet: listed(each.found),
    sizes,
  }));
  const { width, height } = largest.size;
  const style = background === "" ? {} : { style: { background } };
  const img = { alt, width, height, loading, decoding, ...style, sizes, srcSet: listed(found), src: largest.url };
  return { sources, img };
}

/** A `<picture>` in HTML. Everything is escaped; `alt` may be anybody's words. */
export function pictureMarkup(picture: Picture, options: PictureOptions): string {
  const { sources, img } = pictureProps(picture, options);
  const { style, ...others } = img;
  const shown = { ...others, ...(style && { style: `background: ${style.background}` }) };
  const lines = sources.map((source) => `  <source${attributes(source)}>`);
  return ["<picture>", ...lines, `  <img${attributes(shown)}>`, "</picture>"].join("\n");
}

function candidates(picture: Picture, options: SrcsetOptions): Candidate[] {
  const { format = "jpg", q, ratio } = options;
  const found = new Map<number, Candidate>();
  for (const w of rungs(picture, options.widths)) {
    const h = ratio && heightFor(w, ratio);
    const size = renditionSize(picture, { w, ...(h && { h }) });
    const url = pictureUrl(picture, { format, w, ...(h && { h }), ...(q !== undefined && { q }) });
    if (!found.has(size.width)) found.set(size.width, { url, size });
    if (size.width < w) break; // the canvas has no room for a wider one of this ratio
  }
  return [...found.values()];
}

/** Rungs, the smallest first; of those that reach the canvas one. */
function rungs(canvas: Size, widths: readonly number[] | undefined): number[] {
  const wanted = widths ?? WIDTHS.filter((rung) => rung >= LEAST_WIDTH_PX);
  const taken = wanted.filter((width) => width >= 1).map(widthRung);
  if (taken.length === 0) throw new RangeError("A srcset has one width at least.");
  const ascending = [...new Set(taken)].sort((one, other) => one - other);
  const below = ascending.filter((rung) => rung < canvas.width);
  return below.length < ascending.length ? [...below, canvas.width] : below;
}

/** The height of a width, to the nearest px. */
function heightFor(w: number, [across, down]: readonly [number, number]): number {
  const isWhole = Number.isInteger(across) && Number.isInteger(down);
  if (!isWhole || Math.min(across, down) < 1) throw new RangeError("A ratio is two whole numbers above 0.");
  return Math.max(1, Math.floor((2 * w * down + across) / (2 * across)));
}

function listed(found: readonly Candidate[]): string {
  return found.map(({ url, size }) => `${url} ${size.width}w`).join(", ");
}

function backgroundOf({ color = "", url = "" }: Background): string {
  if (color !== "" && !/^#[0-9a-fA-F]{6}$/.test(color)) throw new RangeError("A background's colour is #rrggbb.");
  if (/["\\\n\r\f]/.test(url)) throw new RangeError("The address of a background holds what CSS would read.");
  return [color, url && `url("${url}") center / cover no-repeat`].filter(Boolean).join(" ");
}

function attributes(named: object): string {
  const order = ["type", "alt", "width", "height", "loading", "decoding", "style", "sizes", "srcSet", "src"];
  const given = Object.entries(named).sort(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  return given.map(([name, value]) => ` ${name.toLowerCase()}="${escaped(String(value))}"`).join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
