import { pictureUrl, placeholderUrl } from "@client/picture_url";
import { pictureProps } from "@client/srcset";
import Image from "next/image";

// Where `copperplate dev` is, or your deployment.
const base = process.env.NEXT_PUBLIC_PICTURES_URL ?? "http://127.0.0.1:8000";
const fox = { base, text: "a red fox in the snow", width: 1024, height: 768 };
const sea = { base, text: "a lighthouse by the sea at dusk", width: 1024, height: 1024 };
const SIZES = "(min-width: 64rem) 62rem, calc(100vw - 2rem)";

export default function Page() {
  const { sources, img } = pictureProps(sea, {
    alt: "A lighthouse by the sea",
    ratio: [16, 9],
    sizes: SIZES,
    // Seen until the picture is there.
    background: { color: "#34506b", url: placeholderUrl(sea) },
  });
  return (
    <main>
      <h1>Pictures by Copperplate</h1>
      <h2>next/image with a loader</h2>
      <Image
        alt="A red fox"
        src={pictureUrl(fox, { format: "webp" })}
        width={fox.width}
        height={fox.height}
        sizes={SIZES}
        style={{ background: `#c9d6df url("${placeholderUrl(fox)}") center / cover no-repeat` }}
      />
      <h2>A picture element</h2>
      <picture>
        {sources.map((source) => (
          <source key={source.type} {...source} />
        ))}
        <img {...img} />
      </picture>
    </main>
  );
}
