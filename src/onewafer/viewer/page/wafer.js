// The codes of a map as pixels. Which PE each column and row of pixels shows is computed once, in
// whole numbers, so that WebGL and the plain canvas draw the same picture.

export const OUTSIDE = 0xffff;
const LARGEST = 150; // pixels a PE when all are seen: two PEs are not two walls
const OUTSIDE_COLOR = 256; // in a palette, behind the colors of the codes
const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D codes;
uniform usampler2D columns;
uniform usampler2D rows;
uniform sampler2D palette;
uniform int height;
out vec4 color;
void main() {
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  uint x = texelFetch(columns, ivec2(pixel.x, 0), 0).r;
  uint y = texelFetch(rows, ivec2(height - 1 - pixel.y, 0), 0).r;
  int code = ${OUTSIDE_COLOR};
  if (x != ${OUTSIDE}u && y != ${OUTSIDE}u) {
    code = int(texelFetch(codes, ivec2(int(x), int(y)), 0).r);
  }
  color = texelFetch(palette, ivec2(code, 0), 0);
}`;

// What part of the wafer is seen: the PE in the middle, and pixels a PE.
export class View {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.pixels = [1, 1];
    this.largest = LARGEST;
    this.fit();
  }

  // Takes the size of a canvas, in pixels of a screen with so many a CSS pixel.
  resize(width, height, ratio) {
    const isNew = this.pixels[0] === 1;
    const wasFit = this.scale === this.fitting;
    this.pixels = [width, height].map((side) => Math.max(1, Math.round(side * ratio)));
    this.largest = LARGEST * ratio;
    if (isNew || wasFit) this.fit();
  }

  fit() {
    this.x = this.width / 2;
    this.y = this.height / 2;
    this.scale = this.fitting;
  }

  get fitting() {
    return Math.min(this.largest, 0.94 * Math.min(this.pixels[0] / this.width, this.pixels[1] / this.height));
  }

  // Zooms by a factor around a pixel, which goes on to show the same place.
  zoom(factor, [px, py] = [this.pixels[0] / 2, this.pixels[1] / 2]) {
    const before = this.place(px, py);
    const most = Math.max(Math.min(...this.pixels) / 2, this.fitting);
    this.scale = Math.min(Math.max(this.scale * factor, this.fitting / 2), most);
    const after = this.place(px, py);
    this.move(before[0] - after[0], before[1] - after[1]);
  }

  move(dx, dy) {
    this.x = Math.min(Math.max(this.x + dx, 0), this.width);
    this.y = Math.min(Math.max(this.y + dy, 0), this.height);
  }

  place(px, py) {
    return [
      this.x + (px - this.pixels[0] / 2) / this.scale,
      this.y + (py - this.pixels[1] / 2) / this.scale,
    ];
  }

  pixel(x, y) {
    return [
      (x - this.x) * this.scale + this.pixels[0] / 2,
      (y - this.y) * this.scale + this.pixels[1] / 2,
    ];
  }

  // The PE that each column and each row of pixels shows.
  columns() {
    return this.#line(this.pixels[0], this.x, this.width);
  }

  rows() {
    return this.#line(this.pixels[1], this.y, this.height);
  }

  #line(length, middle, size) {
    const line = new Uint16Array(length);
    for (let i = 0; i < length; i++) {
      const place = Math.floor(middle + (i + 0.5 - length / 2) / this.scale);
      line[i] = place >= 0 && place < size ? place : OUTSIDE;
    }
    return line;
  }
}

// The level of a pyramid whose squares are nearest to a pixel, and not smaller ones.
export function levelFor(scale, numLevels) {
  const wanted = scale >= 1 ? 0 : Math.floor(Math.log2(1 / scale));
  return Math.min(wanted, numLevels - 1);
}

function halved(line, level) {
  return level === 0 ? line : line.map((place) => (place === OUTSIDE ? place : place >> level));
}

export function makePalette(colors, absent, outside) {
  const palette = new Uint8Array(4 * (OUTSIDE_COLOR + 1)).fill(255);
  for (let code = 1; code < OUTSIDE_COLOR; code++) {
    palette.set(colors.slice(3 * code, 3 * code + 3), 4 * code);
  }
  palette.set(absent, 0);
  palette.set(outside, 4 * OUTSIDE_COLOR);
  return palette;
}

// Returns what draws on a canvas: with WebGL2 where the computer has it in hardware, else without:
// in software the plain canvas is faster. `wanted` is "webgl" or "canvas" for one of them.
export function makePainter(canvas, wanted) {
  const isUseful = wanted === "webgl" || (wanted !== "canvas" && hasHardware());
  const gl = isUseful ? canvas.getContext("webgl2", { preserveDrawingBuffer: true }) : null;
  if (!gl || gl.getParameter(gl.MAX_TEXTURE_SIZE) < 4096) return new CanvasPainter(canvas);
  try {
    return new WebGlPainter(canvas, gl);
  } catch (error) {
    console.info(`drawing without WebGL: ${error.message}`);
    const fresh = canvas.cloneNode(); // one that had WebGL has no plain context any more
    canvas.replaceWith(fresh);
    return new CanvasPainter(fresh);
  }
}

function hasHardware() {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|software/i.test(name);
}

class CanvasPainter {
  name = "canvas";

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  paint(view, { codes, size, level }, palette) {
    const [width, height] = view.pixels;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      [this.canvas.width, this.canvas.height] = view.pixels;
    }
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const colors = new Uint32Array(palette.buffer);
    const columns = halved(view.columns(), level);
    const rows = halved(view.rows(), level);
    for (let py = 0; py < height; py++) {
      const start = py * width;
      if (py > 0 && rows[py] === rows[py - 1]) {
        pixels.copyWithin(start, start - width, start);
      } else if (rows[py] === OUTSIDE) {
        pixels.fill(colors[OUTSIDE_COLOR], start, start + width);
      } else {
        const row = rows[py] * size[0];
        for (let px = 0; px < width; px++) {
          const x = columns[px];
          pixels[start + px] = colors[x === OUTSIDE ? OUTSIDE_COLOR : codes[row + x]];
        }
      }
    }
    this.context.putImageData(image, 0, 0);
  }
}

class WebGlPainter {
  name = "webgl2";
  #codes = null; // those that the texture holds

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    const program = gl.createProgram();
    for (const [kind, text] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(gl.getProgramInfoLog(program));
    }
    gl.useProgram(program);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.height = gl.getUniformLocation(program, "height");
    this.textures = ["codes", "columns", "rows", "palette"].map((name, unit) => {
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      return unit;
    });
  }

  paint(view, { codes, size, level }, palette) {
    const { gl, canvas } = this;
    const [width, height] = view.pixels;
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = view.pixels;
    }
    if (this.#codes !== codes) {
      this.#upload(0, gl.R8UI, size, gl.RED_INTEGER, gl.UNSIGNED_BYTE, codes);
      this.#codes = codes;
    }
    const columns = halved(view.columns(), level);
    const rows = halved(view.rows(), level);
    this.#upload(1, gl.R16UI, [width, 1], gl.RED_INTEGER, gl.UNSIGNED_SHORT, columns);
    this.#upload(2, gl.R16UI, [height, 1], gl.RED_INTEGER, gl.UNSIGNED_SHORT, rows);
    this.#upload(3, gl.RGBA8, [OUTSIDE_COLOR + 1, 1], gl.RGBA, gl.UNSIGNED_BYTE, palette);
    gl.viewport(0, 0, width, height);
    gl.uniform1i(this.height, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #upload(unit, form, [width, height], format, kind, values) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + this.textures[unit]);
    gl.texImage2D(gl.TEXTURE_2D, 0, form, width, height, 0, format, kind, values);
  }
}
