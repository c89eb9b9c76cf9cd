/* The viewer: one NiiVue for the page, moved into the section of the subject that it shows. NiiVue and a subject's
   volumes are scripts that are loaded when they are first needed, because a page opened from a file may load scripts
   and nothing else. */
(function () {
  "use strict";
  const panel = document.getElementById("viewer");
  const canvas = document.getElementById("canvas");
  const status = document.getElementById("status");
  const sliders = ["mask", "reference", "probabilities"];
  const LABELS = {
    mask: {
      1: { colour: [230, 159, 0], words: "WMH" },
      2: { colour: [204, 121, 167], words: "other pathology" },
      3: { colour: [213, 94, 0], words: "false positive" },
    },
    reference: {
      1: { colour: [86, 180, 233], words: "WMH in the reference" },
      2: { colour: [204, 121, 167], words: "other pathology in the reference" },
      4: { colour: [240, 228, 66], words: "missed" },
    },
  };
  let viewer = null;
  let started = null;
  let shown = null; // the section whose volumes are loaded
  let wanted = null; // the section that was asked for last
  let layers = {};
  let places = [];
  let at = 0;
  let white = 1; // the brightness that the pictures show white

  function load(source) {
    return new Promise(function (resolve, reject) {
      const script = document.createElement("script");
      script.src = source;
      script.onload = function () {
        script.remove();
        resolve();
      };
      script.onerror = function () {
        script.remove();
        reject(new Error(source + " cannot be loaded: is the folder “report” beside this page?"));
      };
      document.head.append(script);
    });
  }

  // A subject's script calls this; what it brings is taken once and not kept.
  const arrived = {};
  window.nnunetv2SaUnetVolumes = function (name, files) {
    arrived[name] = files;
  };

  // Once for the page, however often it is asked for; after a failure once more.
  function start() {
    if (!started) {
      started = begin().catch(function (error) {
        started = null;
        throw error;
      });
    }
    return started;
  }

  async function begin() {
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error("This browser has no WebGL 2, which the viewer needs; the pictures below do without.");
    }
    if (!window.niivue) await load("report/niivue.umd.js");
    const made = new window.niivue.Niivue({
      isRadiologicalConvention: true,
      isNearestInterpolation: true,
      sagittalNoseLeft: true,
      multiplanarShowRender: 0,
      crosshairColor: [0.34, 0.71, 0.91, 0.9],
      crosshairWidth: 0.6,
      crosshairWidthUnit: "mm",
      crosshairGap: 8,
      backColor: [0, 0, 0, 1],
      fontColor: [0.85, 0.88, 0.9, 1],
      dragAndDropEnabled: false,
      scrollRequiresFocus: true,
      logLevel: "error",
      loadingText: "",
    });
    made.onLocationChange = report;
    // Its own keys would meet those of the page, and some of them only surprise.
    made.keyDownListener = made.keyUpListener = function () {};
    await made.attachToCanvas(canvas);
    viewer = made;
  }

  async function overlay(name, base64) {
    const options = { base64: base64, name: name + ".nii.gz", opacity: 0 };
    if (name === "flair") Object.assign(options, { colormap: "gray", opacity: 1 });
    if (name === "probabilities") Object.assign(options, { colormap: "viridis", cal_min: 0.05, cal_max: 1 });
    const image = await window.niivue.NVImage.loadFromBase64(options);
    if (name in LABELS) {
      const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
      for (const [label, { colour, words }] of Object.entries(LABELS[name])) {
        ["R", "G", "B"].forEach((channel, index) => table[channel].push(colour[index]));
        table.A.push(255);
        table.I.push(Number(label));
        table.labels.push(words);
      }
      image.setColormapLabel(table);
    }
    return image;
  }

  async function open(section) {
    const same = shown === section;
    if (wanted === section && !panel.hidden && !same) return; // it is being loaded
    wanted = section;
    section.querySelector(".viewer-place").append(panel);
    panel.hidden = false;
    // The subject before must not be seen in the section of this one.
    canvas.classList.toggle("waiting", !same);
    if (!same) {
      say("Loading the volumes of " + nameOf(section) + " …");
      try {
        await show(section);
      } catch (error) {
        if (wanted !== section) return;
        wanted = null;
        say(error.message);
        return;
      }
    }
    if (wanted === section) canvas.focus({ preventScroll: true });
  }

  async function show(section) {
    const name = section.dataset.volumes;
    await Promise.all([load("report/" + name), start()]);
    const files = arrived[name];
    delete arrived[name];
    // Asked for again while it was on its way: the first to arrive is shown.
    if (!files) return;
    const images = {};
    for (const layer of ["flair", "reference", "mask", "probabilities"]) {
      if (files[layer]) images[layer] = await overlay(layer, files[layer]);
    }
    // Somebody may have asked for the next subject meanwhile.
    if (wanted !== section) return;
    while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
    layers = {};
    for (const [layer, image] of Object.entries(images)) {
      viewer.addVolume(image);
      layers[layer] = image;
    }
    shown = section;
    canvas.classList.remove("waiting");
    white = layers.flair.cal_max;
    for (const slider of sliders) document.getElementById(slider).closest("label").hidden = !(slider in layers);
    sliders.forEach(blend);
    contrast();
    arrange();
    places = Array.from(section.querySelectorAll("button.look"), (button) => button.dataset.place);
    at = 0;
    if (places.length) jump(places[0]);
    else viewer.createOnLocationChange();
  }

  function blend(layer) {
    if (layer in layers) {
      viewer.setOpacity(viewer.volumes.indexOf(layers[layer]), Number(document.getElementById(layer).value) / 100);
    }
  }

  function contrast() {
    if (!shown) return;
    layers.flair.cal_max = white * 100 / Number(document.getElementById("contrast").value);
    viewer.updateGLVolume();
  }

  function arrange() {
    if (!viewer) return;
    if (document.getElementById("view").value === "axial") {
      viewer.clearCustomLayout();
      viewer.setSliceType(viewer.sliceTypeAxial);
      return;
    }
    // The axial slice is what was segmented: it gets the most room.
    const wide = canvas.clientWidth > 1.1 * canvas.clientHeight;
    const tiles = wide
      ? [[0, 0, 0.6, 1], [0.6, 0, 0.4, 0.5], [0.6, 0.5, 0.4, 0.5]]
      : [[0, 0, 1, 0.64], [0, 0.64, 0.5, 0.36], [0.5, 0.64, 0.5, 0.36]];
    const planes = [viewer.sliceTypeAxial, viewer.sliceTypeCoronal, viewer.sliceTypeSagittal];
    viewer.setCustomLayout(planes.map((plane, index) => ({ sliceType: plane, position: tiles[index] })));
  }

  function jump(place) {
    at = Math.max(places.indexOf(place), 0);
    // The last argument: by the true affine, also where slices are oblique.
    viewer.scene.crosshairPos = viewer.mm2frac(place.split(" ").map(Number), 0, true);
    viewer.createOnLocationChange();
    viewer.drawScene();
  }

  function next(by) {
    if (places.length) jump(places[(at + by + places.length) % places.length]);
  }

  function report(location) {
    const words = ["x y z " + Array.from(location.mm).slice(0, 3).map((mm) => String(Math.round(mm))).join(" ") + " mm"];
    for (const entry of location.values || []) {
      const layer = entry.name.replace(".nii.gz", "");
      const label = LABELS[layer] && LABELS[layer][Math.round(entry.value)];
      if (layer === "flair") words.push("FLAIR " + entry.value.toFixed(0));
      else if (layer === "probabilities") words.push("probability " + entry.value.toFixed(2));
      else if (label) words.push(label.words);
    }
    say((shown ? nameOf(shown) + " · " : "") + words.join(" · "));
  }

  function nameOf(section) {
    return section.querySelector("h2").textContent;
  }

  function say(words) {
    status.textContent = words;
  }

  function close() {
    const section = panel.closest(".subject");
    panel.hidden = true;
    wanted = null;
    if (section) section.querySelector("button.open").focus();
  }

  document.getElementById("sections").addEventListener("click", async function (event) {
    const from = event.target.closest("button.open, button.look, .tile[data-place]");
    if (!from) return;
    const section = from.closest(".subject");
    await open(section);
    if (shown === section && from.dataset.place) {
      jump(from.dataset.place);
      panel.scrollIntoView({ block: "nearest" });
    }
  });
  for (const slider of sliders) document.getElementById(slider).addEventListener("input", () => blend(slider));
  document.getElementById("contrast").addEventListener("input", contrast);
  document.getElementById("view").addEventListener("change", arrange);
  window.addEventListener("resize", arrange);
  document.getElementById("earlier").addEventListener("click", () => next(-1));
  document.getElementById("later").addEventListener("click", () => next(1));
  document.getElementById("close").addEventListener("click", close);
  panel.addEventListener("keydown", function (event) {
    if (event.key === "Escape") close();
  });
  canvas.addEventListener("keydown", function (event) {
    const actions = {
      ArrowUp: () => viewer.moveCrosshairInVox(0, 0, 1),
      ArrowDown: () => viewer.moveCrosshairInVox(0, 0, -1),
      ArrowLeft: () => next(-1),
      ArrowRight: () => next(1),
    };
    if (!shown || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
