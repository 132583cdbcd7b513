"""What keeps a text of a page from being read, found in the page itself: too little contrast, letters that are too
small, text that is cut off, a page that is wider than its window.

`LEGIBLE` is a function for `page.evaluate`; it answers `{found, seen}`: what is wrong, and how many texts were
looked at (a page with hardly any was not what the test thought). Mails, the shopper's pages and the console are
held against it.
"""

LEGIBLE = """() => {
  const found = [];
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (c) => {
    const n = c.replace(/^color\\(srgb/, '').match(/[\\d.]+(e-?\\d+)?/g)?.map(Number) ?? [0, 0, 0, 0];
    const unit = c.startsWith('color(') ? 255 : 1;
    return [n[0] * unit, n[1] * unit, n[2] * unit, n.length > 3 ? n[3] : 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const canvas = document.createElement('div');
  canvas.style.color = 'Canvas';
  document.body.append(canvas);
  const paper = parse(getComputedStyle(canvas).color);
  canvas.remove();
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    let colour = paper;
    for (const layer of layers.reverse()) colour = over(layer, colour);
    return colour;
  };
  const hidden = (e) => e !== null && (getComputedStyle(e).clipPath !== 'none' || hidden(e.parentElement));
  const scrolls = (style) => /auto|scroll/.test(style.overflowX);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const parent = node.parentElement;
    const style = getComputedStyle(parent);
    if (!node.data.trim() || !box.width || !box.height || style.fontSize === '0px') continue;
    if (style.visibility !== 'visible' || box.right < -100 || parent.closest(':disabled')) continue;
    if (hidden(parent)) continue;
    const text = node.data.trim().slice(0, 40);
    seen += 1;
    const ground = behind(parent);
    const ink = over(parse(parent.closest('svg') ? style.fill : style.color), ground);
    const [light, deep] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (deep + 0.05);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${text}`);
    if (parseFloat(style.fontSize) < 12 && !parent.closest('svg')) found.push(`small: ${text}`);
    let inside = false;
    for (let e = parent; e && !inside; e = e.parentElement) {
      const around = getComputedStyle(e);
      const edge = e.getBoundingClientRect();
      inside = scrolls(around);
      if (inside || around.overflowX === 'visible' || e.closest('svg')) continue;
      if (box.right > edge.right + 1 || box.left < edge.left - 1) {
        found.push(`clipped: ${text}`);
        break;
      }
    }
    if (!inside && (box.left < 0 || box.right > innerWidth + 0.5)) found.push(`cut off: ${text}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth} wide`);
  return { found: [...new Set(found)], seen };
}"""
