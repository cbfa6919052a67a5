// A picture from the camera, where the browser allows it.

/** Wire the camera's buttons; `take` gets each picture as a file. */
export function camera({ open, why, panel, video, shoot, close }, take) {
  let stream = null, number = 0;
  if (!navigator.mediaDevices?.getUserMedia) {
    open.disabled = true;
    why.textContent = "browsers open a camera at localhost or over https alone";
    return;
  }
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    [stream, video.srcObject, panel.hidden] = [null, null, true];
    open.focus();
  };
  open.addEventListener("click", async () => {
    why.textContent = "";
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    } catch (error) {
      why.textContent = `no camera: ${error.message}`;
      return;
    }
    [video.srcObject, panel.hidden] = [stream, false];
    shoot.focus();
  });
  shoot.addEventListener("click", () => {
    if (!video.videoWidth) return; // no frame yet
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take([new File([blob], `camera-${++number}.jpg`, { type: blob.type })]), "image/jpeg", 0.95);
  });
  close.addEventListener("click", stop);
}
