// The camera: its frames, one at a time. The next frame is taken when the one before it has been answered.

const LONGEST = 640; // pixels of a side that are asked for
const TIMES = 2; // a frame's shorter side is at least so many times the network's

/** Whether this page may ask for a camera: browsers allow it on this machine and over HTTPS. */
export const isPossible = Boolean(navigator.mediaDevices?.getUserMedia);

export class Camera {
  #video;
  #stream = null;
  #canvas = document.createElement("canvas");

  constructor(video) {
    this.#video = video;
  }

  get isOn() {
    return this.#stream !== null;
  }

  /** Starts; `answer(frame, canvas)` gets one JPEG after the other, and `end` is called once, when the camera is off. */
  async start({ side, answer, end }) {
    const wanted = { width: { ideal: LONGEST }, frameRate: { ideal: 30 }, facingMode: "environment" };
    this.#stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    const stream = this.#stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop()); // unplugged
    this.#video.srcObject = stream;
    await this.#video.play();
    this.#run(stream, side, answer).finally(() => {
      this.stop();
      end();
    });
  }

  /** Releases the camera. */
  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #run(stream, side, answer) {
    while (this.#stream === stream) {
      await nextFrame(this.#video);
      if (this.#stream === stream) await answer(await this.#frame(side), this.#canvas);
    }
  }

  #frame(side) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, (TIMES * side) / Math.min(width, height));
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", 0.92));
  }
}

/** Waits for the video's next frame, but not for ever: a camera that is stopped has none. */
function nextFrame(video) {
  return new Promise((resolve) => {
    setTimeout(resolve, 200);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}
